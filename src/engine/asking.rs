//! The dispatcher's own doings: questions one at a time, go, the lease, the final verification.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::dispatcher::{Busy, Dispatcher, Inner};
use super::driver::{Message, Park};
use super::gates::{Gates, passed};
use super::going::Going;
use super::ports::{LeaseGrant, LeaseRefusal};
use super::state::RunPhase;
use super::state::keeps;
use crate::event::{Answer, AnswerForm, Event, FailureChoice, Question, QuestionKey};
use crate::exit::Exit;
use crate::runbook::expression::Scope;

/// Says whether an answer decides something now. A look again decides nothing, and a yes to go only once the gates
/// have been seen to stand.
fn is_decision(key: &QuestionKey, answer: &Answer) -> bool {
    match answer {
        Answer::Recheck | Answer::Began { .. } => false,
        Answer::Yes => !matches!(key, QuestionKey::Go | QuestionKey::Blocked),
        Answer::No
        | Answer::Typed { .. }
        | Answer::Chosen { .. }
        | Answer::Menu { .. }
        | Answer::Nobody { .. }
        | Answer::Missing { .. } => true,
    }
}

/// A question that was put and is not answered.
pub(super) struct OpenQuestion {
    key: QuestionKey,
    reply: oneshot::Sender<Answer>,
    /// The asking itself: it ends with this, so that a question that is given up leaves the screen
    _asking: GivenUp,
}

/// Ends the asking when the question is.
struct GivenUp(JoinHandle<()>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a person types when the lease cannot be proved.
pub(crate) const ALONE: &str = "I am the only operator";

impl Dispatcher {
    /// Answers from the journal where consent stands, else queues the question.
    pub(super) fn ask(&mut self, question: Box<Question>, reply: oneshot::Sender<Answer>) {
        if let Some(answer) = self.consent(&question) {
            drop(reply.send(answer));
            return;
        }
        if self.stopping.is_some() {
            // Dropping the reply parks the driver.
            return;
        }
        self.questions.push_back((question, reply));
        self.put_next_question();
    }

    /// Returns the consent that was given before and covers a question.
    fn consent(&self, question: &Question) -> Option<Answer> {
        let stands = |(key, answer): &(&QuestionKey, &Answer)| keeps(key, answer);
        if let Some(found) = self.state.answers.get_key_value(&question.key).filter(stands) {
            return Some(found.1.clone());
        }
        let QuestionKey::Loss { step, candidate, loss: Some(asked) } = &question.key else {
            return None;
        };
        // Whoever accepted to lose more of the same accepted this, too.
        let covers = |key: &QuestionKey| {
            matches!(key, QuestionKey::Loss { step: of, candidate: by, loss: Some(given) }
                if of == step && by == candidate && given >= asked)
        };
        let found = self.state.answers.iter().find(|found| covers(found.0) && stands(found))?;
        let AnswerForm::Type { word } = &question.form else { return None };
        matches!(found.1, Answer::Typed { .. } | Answer::Yes)
            .then(|| Answer::Typed { text: word.clone() })
    }

    /// Takes out of a failure's menu what the state of the run does not allow now.
    fn fit_menu(&self, question: &mut Question) {
        let QuestionKey::Failure { step, .. } = &question.key else { return };
        let AnswerForm::Menu { options } = &mut question.form else { return };
        let past = self.state.past();
        let failed = self.state.graph.of_step(step);
        let another = failed.is_some_and(|i| self.state.another(i).is_some());
        options.retain(|option| match option.choice {
            FailureChoice::Rollback => !past,
            FailureChoice::Another => another,
            FailureChoice::Retry
            | FailureChoice::Skip
            | FailureChoice::MarkDone
            | FailureChoice::Stop => true,
        });
        if past {
            let said = "A point of no return has been passed: nothing rolls back by itself.";
            question.lines.push(said.to_owned());
        }
    }

    /// Takes the next question nobody has answered; one that was answered while it waited, for another step that had
    /// asked the same, has its answer.
    fn next_unanswered(&mut self) -> Option<(Box<Question>, oneshot::Sender<Answer>)> {
        while let Some((question, reply)) = self.questions.pop_front() {
            match self.consent(&question) {
                Some(answer) => drop(reply.send(answer)),
                None => return Some((question, reply)),
            }
        }
        None
    }

    /// Puts the next question, if none is open. What was sealed before is durable by then.
    fn put_next_question(&mut self) {
        if self.open_question.is_some() || self.stopping.is_some() {
            return;
        }
        let Some((mut question, reply)) = self.next_unanswered() else { return };
        self.fit_menu(&mut question);
        self.record(vec![Event::Asked { question: question.clone() }]);
        self.sync();
        self.show_question();
        let key = question.key.clone();
        let (operator, inner) = (Arc::clone(&self.ports.operator), self.inner.clone());
        let asking = tokio::spawn(async move {
            let answer = operator.ask(&question).await;
            drop(inner.send(Inner::Answered { question, answer }));
        });
        self.open_question = Some(OpenQuestion { key, reply, _asking: GivenUp(asking) });
    }

    /// Journals an answer, then hands it on.
    pub(super) fn answered(&mut self, question: &Question, answer: Answer) {
        // An answer to a question that was given up, by a signal, is no answer.
        let Some(open) = self.open_question.take_if(|open| open.key == question.key) else {
            return;
        };
        let OpenQuestion { key, reply, .. } = open;
        if is_decision(&key, &answer) {
            self.record(vec![Event::Decided { question: key, answer: answer.clone() }]);
            self.sync();
        }
        drop(reply.send(answer));
        self.put_next_question();
    }

    /// Asks whether to go; looks again as often as the person wants.
    pub(super) fn ask_go(&mut self) {
        self.busy = Busy::Going;
        let going = Going { build: Arc::clone(&self.go), gates: self.gates() };
        let inner = self.inner.clone();
        self.beside(async move { drop(inner.send(Inner::Went(going.ask().await))) });
    }

    /// Does something of the dispatcher's own beside it. A panic in it is a defect: it must stop the run, not leave it
    /// waiting for ever.
    fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                drop(inner.send(Inner::Broke));
            }
        });
    }

    fn gates(&self) -> Gates {
        Gates {
            ports: self.ports.clone(),
            state: self.state.clone(),
            scope: self.whole_scope(),
            post: self.post.clone(),
            halt: self.halted(),
        }
    }

    /// Returns the gates, where there are any and it still matters what they say.
    fn gates_that_count(&self) -> Option<Gates> {
        let count = !self.state.past() && passed(&self.state).next().is_some();
        count.then(|| self.gates())
    }

    /// Says whether what guarded go still stands.
    pub(super) fn look_at_gates(&self, reply: oneshot::Sender<Result<Vec<String>, Park>>) {
        match self.gates_that_count() {
            Some(gates) => {
                self.beside(async move { drop(reply.send(gates.stand().await)) });
            }
            None => drop(reply.send(Ok(Vec::new()))),
        }
    }

    /// Names for expressions, with the outputs of every step that has any.
    fn whole_scope(&self) -> Scope {
        let mut scope = self.scope.clone();
        for (step, state) in self.state.plan.steps.iter().zip(&self.state.steps) {
            scope.set_outputs(&step.id.0, state.outputs.clone());
        }
        scope
    }

    pub(super) fn take_lease(&mut self) {
        self.arm_after_go();
        self.busy = Busy::Leasing;
        let (lease, inner) = (Arc::clone(&self.ports.lease), self.inner.clone());
        // A run that is taken up again may find another world than the one in which a person said go.
        let forward = matches!(self.state.phase, RunPhase::Running);
        let gates = self.gates_that_count().filter(|_| forward);
        self.beside(async move {
            if let Some(gates) = gates
                && let Err(park) = gates.stand().await
            {
                drop(inner.send(Inner::Went(Err(park))));
                return;
            }
            let result = lease.take().await;
            drop(inner.send(Inner::Leased(result)));
        });
    }

    pub(super) fn leased(&mut self, result: Result<LeaseGrant, LeaseRefusal>) {
        self.busy = Busy::Nothing;
        match result {
            Ok(LeaseGrant { epoch, place }) => {
                self.record(vec![Event::LeaseTaken { epoch, place }]);
            }
            Err(LeaseRefusal::Held { holder } | LeaseRefusal::Lost { holder }) => {
                self.stop_for(format!("another run holds the lease: {holder}"), Exit::Held);
            }
            Err(LeaseRefusal::Unproved { why }) => self.ask_alone(why),
        }
    }

    fn ask_alone(&mut self, why: String) {
        self.busy = Busy::Leasing;
        let question = Box::new(Question {
            key: QuestionKey::Alone,
            title: "The shared lock cannot be taken".to_owned(),
            lines: vec![
                why.clone(),
                "Another operator may be changing the same estate. Ask your team first.".to_owned(),
            ],
            commands: Vec::new(),
            no_means: "nothing is changed; the run is saved and can be resumed".to_owned(),
            form: AnswerForm::Type { word: ALONE.to_owned() },
            pages: Default::default(),
        });
        let (post, inner) = (self.post.clone(), self.inner.clone());
        self.beside(async move {
            let (reply, answered) = oneshot::channel();
            drop(post.send(Message::Ask { question, reply }));
            let result = match answered.await {
                Ok(Answer::Typed { text }) => Ok(text),
                Ok(Answer::Yes) => Ok(ALONE.to_owned()),
                Ok(Answer::Missing { flag }) => Err(Park::Missing(flag)),
                Ok(_) => Err(Park::Declined("nobody vouched for being alone".to_owned())),
                Err(_) => Err(Park::Halted),
            };
            drop(inner.send(Inner::Vouched { why, result }));
        });
    }

    pub(super) fn vouch(&mut self, why: String, result: Result<String, Park>) {
        self.busy = Busy::Nothing;
        match result {
            Ok(typed) => {
                self.ports.lease.vouch();
                self.record(vec![Event::LeaseVouched { why, typed }]);
            }
            Err(park) => self.park(park),
        }
    }

    pub(super) fn check_lease(&mut self) {
        self.lease_checking = true;
        let (lease, inner) = (Arc::clone(&self.ports.lease), self.inner.clone());
        let now = self.ports.clock.now();
        self.beside(async move {
            let result = lease.assure(now).await;
            drop(inner.send(Inner::LeaseChecked(result)));
        });
    }

    /// Makes the checks that decide "restored".
    pub(super) fn verify_run(&mut self) {
        self.busy = Busy::Verifying;
        let checks = self.state.plan.verification.clone();
        let scope = self.whole_scope();
        let mut poller = super::verify::Poller {
            ports: self.ports.clone(),
            halt: self.halted(),
            progress: None,
        };
        let inner = self.inner.clone();
        self.beside(async move {
            let done = match poller.poll_all(&checks, &scope).await {
                Ok((verdict, reports)) => Inner::RunVerified { verdict, reports },
                Err(park) => Inner::Went(Err(park)),
            };
            drop(inner.send(done));
        });
    }
}
