use http::Request;
use kube::client::Body;
use tower::Service as _;

use super::*;
use crate::sandbox::aws::Front;

/// Returns a request signed for a service of a region, as the AWS CLI sends it.
fn signed(scope: &str, method: &str, uri: &str, body: &str) -> Request<Body> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=REHEARSAL/20261122/{scope}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let request = Request::builder().method(method).uri(uri).header("host", "127.0.0.1:4566");
    let request = request.header("authorization", authorization);
    request.body(Body::from(body.as_bytes().to_vec())).expect("a request")
}

/// Asks; returns status and body.
async fn ask(front: &mut Front, request: Request<Body>) -> (u16, String) {
    let answer = front.call(request).await.expect("it answers");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect_bytes().await.expect("a body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn other_programs_are_answered_by_the_same_services() {
    let scene = Scene::new(&[]);
    let mut front = Front::to(scene.sandbox.clone());
    scene.run(async {
        let action = "Action=DescribeDBInstances&Version=2014-10-31";
        let rds = signed("us-west-2/rds", "POST", "/", action);
        let (status, body) = ask(&mut front, rds).await;
        assert!(
            status == 200 && body.contains("<DBInstanceIdentifier>phoenix-dr-replica<"),
            "{body}"
        );
        let put = signed("us-west-2/s3", "PUT", "/phoenix-dr-state/a%20b?x-id=PutObject", "hello");
        assert_eq!(ask(&mut front, put).await.0, 200);
        let get = signed("us-west-2/s3", "GET", "/phoenix-dr-state/a%20b", "");
        assert_eq!(ask(&mut front, get).await, (200, "hello".to_owned()));
        let mut json =
            signed("us-west-2/health", "POST", "/", r#"{"filter":{"regions":["us-east-1"]}}"#);
        let target = "AWSHealth_20160804.DescribeEvents".parse().expect("a header");
        json.headers_mut().insert("x-amz-target", target);
        let (status, body) = ask(&mut front, json).await;
        assert!(status == 200 && body.contains("\"events\""), "{body}");
        let zone = signed("us-west-2/route53", "GET", "/2013-04-01/hostedzone/ZNONE", "");
        let (status, body) = ask(&mut front, zone).await;
        assert!(status == 404 && body.contains("NoSuchHostedZone"), "{body}");
    });
    assert!(scene.sandbox.told().left.is_empty());
}

#[test]
fn a_dark_region_keeps_other_programs_waiting_in_vain() {
    let scene = Scene::new(&[]);
    let mut front = Front::to(scene.sandbox.clone());
    let (answer, took) = scene.run(async {
        let action = "Action=DescribeDBInstances&Version=2014-10-31";
        front.call(signed("us-east-1/rds", "POST", "/", action)).await
    });
    assert!(answer.is_err());
    assert_eq!(took.as_secs(), 60);
}

#[test]
fn what_the_simulation_has_not_is_refused_and_remembered() {
    let scene = Scene::new(&[]);
    let mut front = Front::to(scene.sandbox.clone());
    scene.run(async {
        let (status, body) =
            ask(&mut front, signed("us-west-2/ec2", "POST", "/", "Action=X")).await;
        assert!(status == 501 && body.contains("not simulated"), "{body}");
        let unsigned = Request::get("/bucket/key").header("host", "127.0.0.1:4566");
        let unsigned = unsigned.body(Body::empty()).expect("a request");
        assert_eq!(ask(&mut front, unsigned).await.0, 501);
    });
    assert_eq!(scene.sandbox.told().left.len(), 2);
}
