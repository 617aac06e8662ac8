use super::*;

#[test]
fn who_asks_for_a_table_gets_one() {
    let scene = Scene::of(vec![deployment("a", 1)], behaviour(None));
    scene.run(async {
        let request = Request::builder()
            .uri(PODS)
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        let (response, _) = scene.cluster.clone().answer(request).await.expect("it answers");
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let table: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(table["kind"], "Table");
        assert_eq!(table["rows"][0]["cells"][1], "1/1");
        assert_eq!(table["rows"][0]["cells"][2], "Running");
    });
}

#[test]
fn what_a_server_says_of_itself() {
    let scene = Scene::new();
    scene.run(async {
        assert_eq!(scene.get("/version").await["major"], "1");
        let core = scene.get("/api/v1").await;
        assert!(core.to_string().contains("\"shortNames\":[\"po\"]"), "{core}");
        let apps = scene.get("/apis/apps").await;
        assert_eq!(apps["preferredVersion"]["version"], "v1");
        assert_eq!(scene.get("/openapi/v2").await["swagger"], "2.0");
        assert_eq!(scene.get("/apis/nope/v1/things").await["code"], 404);
        let review =
            json!({ "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } } });
        let (code, told) =
            scene.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
        assert_eq!((code, &told["status"]["allowed"]), (201, &json!(true)));
    });
}
