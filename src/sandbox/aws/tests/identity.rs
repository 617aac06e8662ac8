use aws_sdk_health::types::{EventFilter, EventStatusCode};

use super::*;

const EVENTS: &str = r#"[
  { "type": "health.event", "id": "one", "body": {
      "arn": "arn:aws:health:us-east-1::event/RDS/one", "service": "RDS", "region": "us-east-1",
      "eventTypeCode": "AWS_RDS_OPERATIONAL_ISSUE", "eventTypeCategory": "issue", "statusCode": "open",
      "startTime": "2026-11-22T02:00:00Z" } },
  { "type": "health.event", "id": "two", "body": {
      "arn": "arn:aws:health:us-east-1::event/EC2/two", "service": "EC2", "region": "us-east-1",
      "eventTypeCode": "AWS_EC2_OPERATIONAL_ISSUE", "eventTypeCategory": "issue", "statusCode": "closed",
      "startTime": "2026-11-21T02:00:00Z" } },
  { "type": "health.event", "id": "three", "body": {
      "arn": "arn:aws:health:us-west-2::event/RDS/three", "service": "RDS", "region": "us-west-2",
      "eventTypeCode": "AWS_RDS_SCHEDULED", "eventTypeCategory": "scheduledChange", "statusCode": "upcoming",
      "startTime": "2026-12-01T02:00:00Z" } }
]"#;

#[test]
fn events_are_filtered_as_asked() {
    let scene = Scene::of(lit(EVENTS), &[]);
    scene.run(async {
        let health = scene.clients.aws.region("us-east-1").await.expect("clients").health.clone();
        let from = |instant: i64| {
            let from = aws_sdk_health::primitives::DateTime::from_secs(instant);
            aws_sdk_health::types::DateTimeRange::builder().from(from).build()
        };
        let all = || EventFilter::builder();
        for (filter, wanted) in [
            (all(), vec!["one", "three", "two"]),
            (all().regions("us-east-1"), vec!["one", "two"]),
            (all().services("RDS"), vec!["one", "three"]),
            (all().services("RDS").regions("us-east-1"), vec!["one"]),
            (all().event_status_codes(EventStatusCode::Closed), vec!["two"]),
            (all().start_times(from(1_795_305_600)), vec!["one", "three"]),
            (all().services("S3"), vec![]),
        ] {
            let request = health.describe_events().filter(filter.build());
            let mut found = Vec::new();
            let mut token = None;
            loop {
                let page = request.clone().max_results(10).set_next_token(token).send().await;
                let page = page.expect("it answers");
                let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
                found.extend(page.events().iter().filter_map(|event| event.arn().map(name)));
                token = page.next_token().map(str::to_owned);
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(found, wanted);
        }
    });
}
