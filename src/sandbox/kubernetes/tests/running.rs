use super::*;

async fn status(scene: &Scene, name: &str) -> Value {
    scene.get(&format!("{DEPLOYMENTS}/{name}")).await["status"].clone()
}

#[test]
fn a_deployment_that_was_there_runs_and_a_new_one_takes_its_time() {
    let scene = Scene::of(vec![deployment("old", 2)], behaviour(None));
    scene.run(async {
        assert_eq!(status(&scene, "old").await["availableReplicas"], 2);
        scene.post(DEPLOYMENTS, &deployment("new", 3)).await;
        let now = status(&scene, "new").await;
        assert_eq!((&now["replicas"], now.get("readyReplicas")), (&json!(3), None));
        scene.passes(19).await;
        assert_eq!(status(&scene, "new").await.get("readyReplicas"), None);
        scene.passes(2).await;
        let now = status(&scene, "new").await;
        assert_eq!((&now["readyReplicas"], &now["observedGeneration"]), (&json!(3), &json!(1)));
        let sets = scene.get("/apis/apps/v1/namespaces/default/replicasets").await;
        assert_eq!(sets["items"].as_array().map(Vec::len), Some(2));
        let events = scene
            .get("/api/v1/namespaces/default/events?fieldSelector=reason=ScalingReplicaSet")
            .await;
        assert_eq!(events["items"][0]["involvedObject"]["name"], "new");
    });
}

#[test]
fn a_rollout_keeps_within_surge_and_unavailable() {
    let scene = Scene::of(vec![deployment("a", 4)], behaviour(None));
    scene.run(async {
        let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "a:2" }] } } } });
        scene.patch(&format!("{DEPLOYMENTS}/a"), STRATEGIC, &image).await;
        let mut steps = 0;
        loop {
            let now = status(&scene, "a").await;
            let (total, ready) = (now["replicas"].as_u64().unwrap_or(0), now["readyReplicas"].as_u64().unwrap_or(0));
            assert!(total <= 5 && ready >= 3, "{now}");
            if now["updatedReplicas"] == 4 && ready == 4 && total == 4 {
                break;
            }
            steps += 1;
            assert!(steps < 100, "{now}");
            scene.passes(2).await;
        }
        assert!(steps > 10, "more than one round: {steps}");
        let now = scene.get(&format!("{DEPLOYMENTS}/a")).await;
        assert_eq!(now["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
        let progressing = now["status"]["conditions"].as_array().expect("conditions").iter();
        let reasons: Vec<&Value> = progressing.map(|one| &one["reason"]).collect();
        assert!(reasons.contains(&&json!("NewReplicaSetAvailable")), "{reasons:?}");
        // Back to the first version: its ReplicaSet is taken up again.
        let back = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "a:1" }] } } } });
        scene.patch(&format!("{DEPLOYMENTS}/a"), STRATEGIC, &back).await;
        scene.passes(200).await;
        let sets = scene.get("/apis/apps/v1/namespaces/default/replicasets").await;
        assert_eq!(sets["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(status(&scene, "a").await["updatedReplicas"], 4);
    });
}

#[test]
fn a_full_cluster_lets_pods_wait_and_a_broken_workload_gives_up() {
    let mut behaviour = behaviour(Some(3));
    behaviour.broken.insert("default/bad".to_owned(), "CrashLoopBackOff".to_owned());
    let scene = Scene::of(vec![deployment("a", 2)], behaviour);
    scene.run(async {
        scene.post(DEPLOYMENTS, &deployment("b", 2)).await;
        scene.passes(25).await;
        assert_eq!(status(&scene, "b").await["readyReplicas"], 1);
        let waiting = scene.get(&format!("{PODS}?fieldSelector=status.phase=Pending")).await;
        assert_eq!(waiting["items"][0]["status"]["conditions"][1]["reason"], "Unschedulable");
        scene
            .patch(&format!("{DEPLOYMENTS}/a/scale"), MERGE, &json!({ "spec": { "replicas": 0 } }))
            .await;
        scene.passes(30).await;
        assert_eq!(status(&scene, "b").await["readyReplicas"], 2, "once there is room");
        scene.post(DEPLOYMENTS, &deployment("bad", 1)).await;
        scene.passes(700).await;
        let now = status(&scene, "bad").await;
        assert!(now.to_string().contains("ProgressDeadlineExceeded"), "{now}");
        let pods = scene.get(&format!("{PODS}?labelSelector=app%3Dbad")).await;
        let reason =
            &pods["items"][0]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        assert_eq!(reason, "CrashLoopBackOff");
    });
}

fn node(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "annotations": annotations },
        "status": { "allocatable": { "pods": "3" } },
    })
}

#[test]
fn a_lost_node_loses_its_pods_and_they_come_back_elsewhere() {
    let lost = json!({ "phoenix-dr.world/lost-after": "1m" });
    let objects = vec![node("n1", &lost), node("n2", &json!({})), deployment("a", 4)];
    let scene = Scene::of(objects, behaviour(None));
    scene.run(async {
        let on = |pods: &[Value], node: &str| {
            pods.iter().filter(|pod| pod["spec"]["nodeName"] == node).count()
        };
        assert_eq!(on(&scene.pods().await, "n1"), 2);
        scene.passes(99).await;
        assert!(scene.pods().await.iter().all(is_ready), "nobody has noticed");
        scene.passes(2).await;
        let node = scene.get("/api/v1/nodes/n1").await;
        assert!(node.to_string().contains("NodeStatusUnknown"), "{node}");
        assert_eq!(status(&scene, "a").await["readyReplicas"], 2);
        assert_eq!(on(&scene.pods().await, "n1"), 2, "until they are given up");
        scene.passes(300).await;
        let pods = scene.pods().await;
        assert_eq!((on(&pods, "n1"), on(&pods, "n2")), (0, 3), "as far as there is room: {pods:?}");
        scene.passes(30).await;
        assert_eq!(status(&scene, "a").await["readyReplicas"], 3);
        scene.delete("/api/v1/nodes/n2").await;
        assert!(scene.pods().await.iter().all(|pod| pod["spec"].get("nodeName").is_none()));
    });
}

#[test]
fn stateful_sets_jobs_and_autoscalers() {
    let scene = Scene::new();
    scene.run(async {
        let mut set = deployment("db", 2);
        set["kind"] = json!("StatefulSet");
        set["spec"]["serviceName"] = json!("db");
        set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"] } }]);
        let sets = "/apis/apps/v1/namespaces/default/statefulsets";
        let (code, made) = scene.post(sets, &set).await;
        assert_eq!(code, 201, "{made}");
        assert_eq!(scene.pods().await.len(), 1, "one after the other");
        scene.passes(45).await;
        let names: Vec<Value> = scene.pods().await.iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["db-0", "db-1"]);
        assert_eq!(scene.get(&format!("{sets}/db")).await["status"]["readyReplicas"], 2);
        let claims = scene.get("/api/v1/namespaces/default/persistentvolumeclaims").await;
        assert_eq!(claims["items"].as_array().map(Vec::len), Some(2));
        scene.delete(&format!("{PODS}/db-1")).await;
        scene.passes(30).await;
        assert_eq!(scene.get(&format!("{sets}/db")).await["status"]["readyReplicas"], 2, "the same name again");
        scene.delete(&format!("{sets}/db")).await;
        scene.passes(5).await;

        let job = json!({
            "metadata": { "name": "j" },
            "spec": { "completions": 2, "template": { "spec": {
                "restartPolicy": "Never", "containers": [{ "name": "app", "image": "a:1" }],
            } } },
        });
        let jobs = "/apis/batch/v1/namespaces/default/jobs";
        scene.post(jobs, &job).await;
        assert_eq!(scene.get(&format!("{jobs}/j")).await["status"]["active"], 1);
        scene.passes(120).await;
        let now = scene.get(&format!("{jobs}/j")).await["status"].clone();
        assert_eq!((&now["succeeded"], now["conditions"][0]["type"].as_str()), (&json!(2), Some("Complete")), "{now}");

        scene.post(DEPLOYMENTS, &deployment("a", 1)).await;
        let autoscaler = json!({
            "metadata": { "name": "a" },
            "spec": { "minReplicas": 3, "maxReplicas": 5, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" } },
        });
        scene.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", &autoscaler).await;
        let replicas = || async { scene.get(&format!("{DEPLOYMENTS}/a")).await["spec"]["replicas"].clone() };
        assert_eq!(replicas().await, 3);
        for (asked, kept) in [(9, 5), (1, 3), (0, 0)] {
            scene.patch(&format!("{DEPLOYMENTS}/a"), MERGE, &json!({ "spec": { "replicas": asked } })).await;
            assert_eq!(replicas().await, kept, "{asked}");
        }
        let newer = scene.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/a").await;
        assert_eq!(newer["apiVersion"], "autoscaling/v2");
    });
}

#[test]
fn a_disruption_budget_forbids_an_eviction() {
    let scene = Scene::of(vec![deployment("a", 2)], behaviour(None));
    scene.run(async {
        let budget = json!({
            "metadata": { "name": "a" },
            "spec": { "minAvailable": 2, "selector": { "matchLabels": { "app": "a" } } },
        });
        let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
        scene.post(budgets, &budget).await;
        let name = scene.pods().await[0]["metadata"]["name"].as_str().expect("a name").to_owned();
        let path = format!("{PODS}/{name}/eviction");
        let eviction =
            json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        let (code, refused) = scene.post(&path, &eviction).await;
        assert_eq!((code, refused["reason"].as_str()), (429, Some("TooManyRequests")));
        scene.delete(&format!("{budgets}/a")).await;
        assert_eq!(scene.post(&path, &eviction).await.0, 201);
        scene.passes(5).await;
        assert_eq!(scene.get(&format!("{PODS}/{name}")).await["code"], 404);
    });
}
