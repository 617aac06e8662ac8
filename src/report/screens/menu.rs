//! The ways on after a failure, each with its letter.

use crate::event::{FailureChoice, MenuOption};
use crate::report::text;
use crate::report::words;

/// Returns the letter that chooses a way on; none of them declines or calls up a page.
pub(crate) const fn letter(choice: FailureChoice) -> char {
    match choice {
        FailureChoice::Retry => 'r',
        FailureChoice::Another => 'a',
        FailureChoice::Skip => 's',
        FailureChoice::MarkDone => 'm',
        FailureChoice::Rollback => 'b',
        FailureChoice::Stop => 'q',
    }
}

/// Returns the options as lines of at most `columns`.
pub(crate) fn lines(options: &[MenuOption], columns: usize) -> Vec<String> {
    let rows: Vec<Vec<String>> = options
        .iter()
        .map(|option| {
            let name = format!("{}  {}", letter(option.choice), words::way(option.choice));
            vec![name, option.say.clone()]
        })
        .collect();
    text::table(&rows, columns, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AnswerForm, Question, QuestionKey};
    use crate::report::fixtures::failure;
    use crate::report::screens::frame;

    const WAYS: [FailureChoice; 6] = [
        FailureChoice::Retry,
        FailureChoice::Another,
        FailureChoice::Skip,
        FailureChoice::MarkDone,
        FailureChoice::Rollback,
        FailureChoice::Stop,
    ];

    #[test]
    fn the_question_after_a_failure_reads_like_this() {
        let says = [
            "look again and retry",
            "take back what this method did, then choose another one",
            "skip it, with a reason",
            "it is done by hand, with evidence; it is verified",
            "roll back what this run changed",
            "stop here and keep everything as it is",
        ];
        let options: Vec<MenuOption> = WAYS
            .into_iter()
            .zip(says)
            .map(|(choice, say)| MenuOption { choice, say: say.to_owned(), outputs: Vec::new() })
            .collect();
        let error = failure();
        let question = Question {
            title: "Get P0 capacity in us-west-2 failed".to_owned(),
            lines: vec![
                error.message.clone(),
                error.hint.clone().unwrap_or_default(),
                "It has changed something.".to_owned(),
            ],
            commands: vec!["kubectl --context west -n phoenix-system get pods".to_owned()],
            no_means: "nothing new is started; the run is saved and can be resumed".to_owned(),
            ..crate::report::fixtures::question(
                QuestionKey::Failure { step: "capacity".into(), failures: 1 },
                AnswerForm::Menu { options },
            )
        };
        let lines = frame(&question, 80, None);
        assert!(lines.len() < 24 && lines.iter().all(|line| text::width(line) <= 80));
        insta::assert_snapshot!(lines.join("\n"), @r#"

    ? Get P0 capacity in us-west-2 failed
      pods of phoenix-system/phoenix-api are not ready: 3 of 5, two are Pending: 0/6
      nodes are available, 6 Insufficient cpu
      Add nodes to the us-west-2 node group, then retry
      It has changed something.

      r  retry           look again and retry
      a  another method  take back what this method did, then choose another one
      s  skip            skip it, with a reason
      m  mark done       it is done by hand, with evidence; it is verified
      b  roll back       roll back what this run changed
      q  stop and keep   stop here and keep everything as it is
      $ kubectl --context west -n phoenix-system get pods
    No means: nothing new is started; the run is saved and can be resumed
    "#);
    }

    #[test]
    fn every_way_has_a_letter_of_its_own() {
        let mut letters: Vec<char> = WAYS.into_iter().map(letter).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), WAYS.len());
        assert!(!letters.iter().any(|letter| "ndcy".contains(*letter)), "{letters:?}");
    }
}
