use super::*;

/// A watch's lines as they come.
struct Lines {
    body: Answered,
    rest: String,
}

impl Lines {
    async fn of(scene: &Scene, path: &str) -> Self {
        let request =
            Request::builder().uri(path).body(Full::new(Bytes::new())).expect("a request");
        let (response, _) = scene.cluster.clone().answer(request).await.expect("it answers");
        assert_eq!(response.status().as_u16(), 200);
        Self { body: response.into_body(), rest: String::new() }
    }

    /// Returns the kind of the next event and the name of its object; nothing once the watch has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        while !self.rest.contains('\n') {
            let frame = self.body.frame().await?.expect("a frame");
            let bytes = frame.into_data().expect("data");
            self.rest.push_str(&String::from_utf8_lossy(&bytes));
        }
        let (line, rest) = self.rest.split_once('\n').expect("a line");
        let event: Value = serde_json::from_str(line).expect("an event");
        self.rest = rest.to_owned();
        Some((event["type"].as_str().unwrap_or_default().to_owned(), event["object"].clone()))
    }

    async fn told(&mut self) -> (String, String) {
        let (kind, object) = self.next().await.expect("an event");
        (kind, object["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }
}

fn is(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[test]
fn a_watch_tells_what_changes_for_its_selector() {
    let scene = Scene::new();
    scene.run(async {
        let labelled = |name: &str, tier: &str| {
            let mut map = map(name, "1");
            map["metadata"]["labels"] = json!({ "tier": tier });
            map
        };
        scene.post(MAPS, &labelled("a", "front")).await;
        scene.post(MAPS, &labelled("b", "back")).await;
        let mut lines =
            Lines::of(&scene, &format!("{MAPS}?watch=1&labelSelector=tier%3Dfront")).await;
        assert_eq!(lines.told().await, is("ADDED", "a"));
        scene.post(MAPS, &labelled("c", "front")).await;
        scene.patch(&format!("{MAPS}/a"), MERGE, &json!({ "data": { "key": "2" } })).await;
        scene
            .patch(
                &format!("{MAPS}/b"),
                MERGE,
                &json!({ "metadata": { "labels": { "tier": "front" } } }),
            )
            .await;
        scene
            .patch(
                &format!("{MAPS}/c"),
                MERGE,
                &json!({ "metadata": { "labels": { "tier": "back" } } }),
            )
            .await;
        scene.delete(&format!("{MAPS}/a")).await;
        for told in [
            is("ADDED", "c"),
            is("MODIFIED", "a"),
            is("ADDED", "b"),
            is("DELETED", "c"),
            is("DELETED", "a"),
        ] {
            assert_eq!(lines.told().await, told);
        }
    });
}

#[test]
fn a_watch_goes_on_by_itself_and_ends_in_time() {
    let scene = Scene::new();
    scene.run(async {
        scene.post(DEPLOYMENTS, &deployment("a", 1)).await;
        let version = scene.get(PODS).await["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let began = scene.clock.now();
        let path = format!(
            "{PODS}?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=90"
        );
        let mut lines = Lines::of(&scene, &path).await;
        let (kind, pod) = lines.next().await.expect("it becomes ready");
        assert_eq!(kind, "MODIFIED");
        assert!(is_ready(&pod), "{pod}");
        assert_eq!(crate::clock::since(began, scene.clock.now()).as_secs(), 20);
        let (kind, _) = lines.next().await.expect("it says how far it is");
        assert_eq!(kind, "BOOKMARK");
        assert!(lines.next().await.is_none());
        assert_eq!(crate::clock::since(began, scene.clock.now()).as_secs(), 90);
    });
}

#[test]
fn a_version_that_is_forgotten_is_gone() {
    let scene = Scene::new();
    scene.run(async {
        let mut lines = Lines::of(&scene, &format!("{MAPS}?watch=1&resourceVersion=1")).await;
        let (kind, status) = lines.next().await.expect("an error");
        assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(410)));
        assert!(lines.next().await.is_none());
        let (code, _) = scene
            .ask(Method::GET, &format!("{MAPS}?limit=1&continue=1.default%2Fa"), "", &Value::Null)
            .await;
        assert_eq!(code, 410);
        let (code, _) = scene
            .ask(Method::GET, &format!("{MAPS}?resourceVersion=999999"), "", &Value::Null)
            .await;
        assert_eq!(code, 504);
    });
}
