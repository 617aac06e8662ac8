use super::*;

#[test]
fn objects_are_made_read_listed_in_parts_and_deleted() {
    let scene = Scene::new();
    scene.run(async {
        for name in ["a", "b", "c", "d", "e"] {
            let (code, made) = scene.post(MAPS, &map(name, "1")).await;
            assert_eq!(code, 201, "{made}");
            assert_eq!(made["metadata"]["managedFields"][0]["manager"], "tester");
        }
        let (code, again) = scene.post(MAPS, &map("a", "1")).await;
        assert_eq!((code, again["reason"].as_str()), (409, Some("AlreadyExists")));
        let first = scene.get(&format!("{MAPS}?limit=2")).await;
        assert_eq!(first["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(first["metadata"]["remainingItemCount"], 3);
        // What changes in between does not change what the list goes on with.
        scene.delete(&format!("{MAPS}/d")).await;
        scene.post(MAPS, &map("cc", "1")).await;
        let token = first["metadata"]["continue"].as_str().expect("more");
        let rest = scene.get(&format!("{MAPS}?limit=9&continue={token}")).await;
        let names = |list: &Value| -> Vec<String> {
            let items = list["items"].as_array().expect("items");
            items
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap_or("").to_owned())
                .collect()
        };
        assert_eq!(names(&rest), ["c", "d", "e"]);
        let (code, _) =
            scene.ask(Method::GET, &format!("{MAPS}?continue=1.x"), "", &Value::Null).await;
        assert_eq!(code, 400);
        let named = json!({ "metadata": { "generateName": "g-" } });
        let (_, one) = scene.post(MAPS, &named).await;
        let (_, other) = scene.post(MAPS, &named).await;
        assert!(one["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("g-")));
        assert_ne!(one["metadata"]["name"], other["metadata"]["name"]);
        let (code, _) = scene
            .post("/api/v1/namespaces/nope/configmaps", &json!({ "metadata": { "name": "a" } }))
            .await;
        assert_eq!(code, 404);
    });
}

#[test]
fn a_change_of_an_older_version_is_a_conflict_and_a_dry_run_none() {
    let scene = Scene::new();
    scene.run(async {
        let (_, made) = scene.post(MAPS, &map("a", "1")).await;
        let path = format!("{MAPS}/a");
        let mut changed = made.clone();
        changed["data"]["key"] = json!("2");
        let put = |body: Value| {
            let path = path.clone();
            let scene = &scene;
            async move { scene.ask(Method::PUT, &path, "application/json", &body).await }
        };
        let (code, after) = put(changed.clone()).await;
        assert_eq!((code, after["data"]["key"].as_str()), (200, Some("2")));
        let (code, refused) = put(changed).await;
        assert_eq!((code, refused["reason"].as_str()), (409, Some("Conflict")));
        let patch = json!({ "data": { "key": "3" } });
        let dry = format!("{path}?dryRun=All");
        let (code, seen) = scene.patch(&dry, MERGE, &patch).await;
        assert_eq!((code, seen["data"]["key"].as_str()), (200, Some("3")));
        assert_eq!(scene.get(&path).await["data"]["key"], "2");
        let (code, _) = scene.patch(&format!("{path}?dryRun=x"), MERGE, &patch).await;
        assert_eq!(code, 422);
        let same = scene.patch(&path, MERGE, &json!({ "data": { "key": "2" } })).await.1;
        assert_eq!(same["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    });
}

#[test]
fn four_kinds_of_patches() {
    let scene = Scene::new();
    scene.run(async {
        scene.post(DEPLOYMENTS, &deployment("a", 1)).await;
        let path = format!("{DEPLOYMENTS}/a");
        let container = json!([{ "name": "side", "image": "s:1" }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": container } } } });
        let (_, after) = scene.patch(&path, STRATEGIC, &patch).await;
        let containers = |value: &Value| {
            value["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len)
        };
        assert_eq!(containers(&after), Some(2), "{after}");
        assert_eq!(after["metadata"]["generation"], 2);
        let (_, after) = scene.patch(&path, MERGE, &patch).await;
        assert_eq!(containers(&after), Some(1));
        let step = json!([{ "op": "replace", "path": "/spec/replicas", "value": 3 }]);
        let (_, after) = scene.patch(&path, JSON_PATCH, &step).await;
        assert_eq!(after["spec"]["replicas"], 3);
        let failing = json!([{ "op": "test", "path": "/spec/replicas", "value": 9 }]);
        assert_eq!(scene.patch(&path, JSON_PATCH, &failing).await.0, 422);
        assert_eq!(scene.patch(&path, "text/plain", &step).await.0, 415);
        let other = json!({ "spec": { "selector": { "matchLabels": { "app": "b" } } } });
        let (code, refused) = scene.patch(&path, MERGE, &other).await;
        assert_eq!(code, 422);
        let said = refused["message"].as_str().unwrap_or_default();
        assert!(said.contains("field is immutable"), "{said}");
        let wrong = json!({ "spec": { "replicas": "many" } });
        assert_eq!(scene.patch(&path, MERGE, &wrong).await.0, 400);
    });
}

#[test]
fn whoever_applies_owns_what_they_apply() {
    let scene = Scene::new();
    scene.run(async {
        let path = format!("{MAPS}/a");
        let apply = |who: &str, data: Value, more: &str| {
            let path = format!("{path}?fieldManager={who}{more}");
            let body = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data,
            });
            let scene = &scene;
            async move { scene.patch(&path, APPLY, &body).await }
        };
        let (code, _) = apply("one", json!({ "x": "1", "y": "1" }), "").await;
        assert_eq!(code, 201);
        let (code, refused) = apply("two", json!({ "x": "2", "z": "2" }), "").await;
        assert_eq!(code, 409);
        assert_eq!(
            refused["message"],
            "Apply failed with 1 conflict: conflict with \"one\": .data.x"
        );
        assert_eq!(refused["details"]["causes"][0]["field"], ".data.x");
        let (code, after) = apply("two", json!({ "x": "2", "z": "2" }), "&force=true").await;
        assert_eq!((code, &after["data"]), (200, &json!({ "x": "2", "y": "1", "z": "2" })));
        // What nobody applies any more goes; what is another's stays.
        let (_, after) = apply("one", json!({ "w": "1" }), "").await;
        assert_eq!(after["data"], json!({ "w": "1", "x": "2", "z": "2" }));
        let version = after["metadata"]["resourceVersion"].clone();
        let (_, same) = apply("one", json!({ "w": "1" }), "").await;
        assert_eq!(same["metadata"]["resourceVersion"], version, "the same again changes nothing");
        let (_, patched) = scene.patch(&path, MERGE, &json!({ "data": { "w": "9" } })).await;
        let managers = patched["metadata"]["managedFields"].as_array().expect("managers").len();
        assert_eq!(managers, 2, "the one who owned nothing else is gone: {patched}");
        let (code, refused) = apply("one", json!({ "w": "1" }), "").await;
        assert_eq!(code, 409);
        assert!(
            refused["message"]
                .as_str()
                .is_some_and(|said| said.contains("\"tester\" using v1: .data.w")),
            "{refused}"
        );
    });
}

#[test]
fn finalizers_owners_and_namespaces() {
    let scene = Scene::new();
    scene.run(async {
        let mut kept = map("kept", "1");
        kept["metadata"]["finalizers"] = json!(["x.example/hold"]);
        let (_, owner) = scene.post(MAPS, &kept).await;
        let mut owned = map("owned", "1");
        owned["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "kept", "blockOwnerDeletion": true,
            "uid": owner["metadata"]["uid"],
        }]);
        scene.post(MAPS, &owned).await;
        let path = format!("{MAPS}/kept");
        let (code, marked) = scene.delete(&path).await;
        assert_eq!(code, 200);
        assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
        assert_eq!(scene.get(&format!("{MAPS}/owned")).await["kind"], "ConfigMap", "not yet");
        scene.patch(&path, MERGE, &json!({ "metadata": { "finalizers": null } })).await;
        assert_eq!(scene.get(&path).await["code"], 404);
        assert_eq!(scene.get(&format!("{MAPS}/owned")).await["code"], 404, "with its owner");

        for (policy, stays) in [("Background", false), ("Foreground", false), ("Orphan", true)] {
            scene.post(DEPLOYMENTS, &deployment("d", 1)).await;
            scene.passes(30).await;
            let (code, _) =
                scene.delete(&format!("{DEPLOYMENTS}/d?propagationPolicy={policy}")).await;
            assert_eq!(code, 200);
            scene.passes(5).await;
            assert_eq!(scene.get(&format!("{DEPLOYMENTS}/d")).await["code"], 404, "{policy}");
            assert_eq!(scene.pods().await.len() == 1, stays, "{policy}");
        }

        let namespaces = "/api/v1/namespaces";
        let made = json!({ "metadata": { "name": "n" } });
        scene.post(namespaces, &made).await;
        scene
            .post(
                "/api/v1/namespaces/n/configmaps",
                &json!({ "metadata": { "name": "a", "finalizers": ["x.example/hold"] } }),
            )
            .await;
        let (_, ending) = scene.delete("/api/v1/namespaces/n").await;
        assert_eq!(ending["status"]["phase"], "Terminating");
        let (code, refused) = scene
            .post("/api/v1/namespaces/n/configmaps", &json!({ "metadata": { "name": "b" } }))
            .await;
        assert_eq!(code, 403, "{refused}");
        scene
            .patch(
                "/api/v1/namespaces/n/configmaps/a",
                MERGE,
                &json!({ "metadata": { "finalizers": [] } }),
            )
            .await;
        assert_eq!(scene.get("/api/v1/namespaces/n").await["code"], 404);
    });
}

#[test]
fn what_breaks_the_rules_of_its_kind_is_refused() {
    let scene = Scene::new();
    scene.run(async {
        let mut apart = deployment("a", 1);
        apart["spec"]["template"]["metadata"]["labels"] = json!({ "app": "b" });
        let (code, refused) = scene.post(DEPLOYMENTS, &apart).await;
        assert_eq!((code, refused["reason"].as_str()), (422, Some("Invalid")));
        assert_eq!(refused["details"]["causes"][0]["field"], "spec.template.metadata.labels");
        assert_eq!(scene.post(DEPLOYMENTS, &deployment("A_", 1)).await.0, 422);
        let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
        let mut unknown = deployment("b", 1);
        unknown["spec"]["replicsa"] = json!(2);
        let (code, refused) = scene.post(&strict, &unknown).await;
        assert_eq!(code, 400);
        let said = refused["message"].as_str().unwrap_or_default();
        assert!(said.contains("unknown field \"spec.replicsa\""), "{said}");
        let (code, made) = scene.post(DEPLOYMENTS, &unknown).await;
        assert_eq!((code, made["spec"].get("replicsa")), (201, None));
        let (code, refused) = scene
            .patch(&format!("{DEPLOYMENTS}/b/scale"), MERGE, &json!({ "spec": { "replicas": -1 } }))
            .await;
        assert_eq!((code, refused["details"]["kind"].as_str()), (422, Some("Scale")));
        let (code, scaled) = scene
            .patch(&format!("{DEPLOYMENTS}/b/scale"), MERGE, &json!({ "spec": { "replicas": 3 } }))
            .await;
        assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(3)));
        assert_eq!(scene.patch(&format!("{MAPS}/x/scale"), MERGE, &json!({})).await.0, 404);
    });
}

#[test]
fn a_definition_makes_a_kind_at_run_time() {
    let scene = Scene::new();
    scene.run(async {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "widgets.shop.example" },
            "spec": {
                "group": "shop.example", "scope": "Namespaced",
                "names": { "kind": "Widget", "plural": "widgets", "shortNames": ["wd"] },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                    "subresources": { "status": {}, "scale": { "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size" } },
                }],
            },
        });
        let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let widgets = "/apis/shop.example/v1/namespaces/default/widgets";
        assert_eq!(scene.get(widgets).await["code"], 404);
        let (code, made) = scene.post(all, &definition).await;
        assert_eq!(code, 201, "{made}");
        let widget = json!({
            "apiVersion": "shop.example/v1", "kind": "Widget", "metadata": { "name": "w" },
            "spec": { "size": 2, "any": { "thing": [1] } },
        });
        let (code, made) = scene.post(widgets, &widget).await;
        assert_eq!((code, &made["spec"]), (201, &widget["spec"]));
        let (_, after) = scene.patch(&format!("{widgets}/w/scale"), MERGE, &json!({ "spec": { "replicas": 5 } })).await;
        assert_eq!(after["spec"]["replicas"], 5);
        let object = scene.get(&format!("{widgets}/w")).await;
        assert_eq!((&object["spec"]["size"], &object["metadata"]["generation"]), (&json!(5), &json!(2)));
        assert_eq!(scene.patch(&format!("{widgets}/w"), STRATEGIC, &json!({})).await.0, 415);
        let groups = scene.get("/apis").await;
        assert!(groups.to_string().contains("shop.example"));
        scene.delete(&format!("{all}/widgets.shop.example")).await;
        assert_eq!(scene.get(widgets).await["code"], 404);
    });
}
