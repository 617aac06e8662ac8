//! Work on what there is very much of, shared out among the processors.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Items of very different sizes that are worked on at a time: a disk has more to do with each.
const AT_ONCE_MAX: usize = 8;

/// Works on parts of a list at the same time and returns what came of each, in order. The work is given a part and the place
/// of its first item; no part is smaller than `least`, for a thread costs more than a few items.
pub(crate) fn in_parts<T: Sync, R: Send>(
    items: &[T],
    least: usize,
    work: impl Fn(usize, &[T]) -> R + Sync,
) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let size = items.len().div_ceil(processors).max(least).max(1);
    let work = &work;
    thread::scope(|scope| {
        let begun: Vec<_> = items
            .chunks(size)
            .enumerate()
            .map(|(i, part)| {
                // The last part is this thread's own.
                let alone = (i + 1) * size >= items.len();
                let thread = (!alone).then(|| {
                    thread::Builder::new().spawn_scoped(scope, move || work(i * size, part))
                });
                (i * size, part, thread)
            })
            .collect();
        // From behind: this thread's own part first, while the others are at work.
        let done = begun.into_iter().rev().map(|(first, part, thread)| match thread {
            Some(Ok(thread)) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // Where there is no thread to be had it is done here.
            Some(Err(_)) | None => work(first, part),
        });
        let mut done: Vec<R> = done.collect();
        done.reverse();
        done
    })
}

/// Works on items one by one, the next by whichever processor is free, and returns what came of each, in order: for items one of
/// which may take longer than all others.
pub(crate) fn one_by_one<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let workers = vec![(); processors.min(AT_ONCE_MAX).min(items.len())];
    let next = AtomicUsize::new(0);
    let done = in_parts(&workers, 1, |_, _| {
        let taken = std::iter::from_fn(|| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, work(item)))
        });
        taken.collect::<Vec<(usize, R)>>()
    });
    let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, came)| came).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_in_its_place() {
        for count in [0, 1, 2, 7, 8, 9, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            for least in [0, 1, 3, 2_000] {
                let parts = in_parts(&items, least, |first, part| (first, part.to_vec()));
                assert!(parts.iter().all(|(first, part)| part.first() == Some(first)));
                let all: Vec<usize> = parts.into_iter().flat_map(|(_, part)| part).collect();
                assert_eq!(all, items, "{count} items, {least} at least");
            }
        }
    }

    #[test]
    fn items_are_taken_one_by_one_and_come_in_their_order() {
        for count in [0, 1, 2, 9, 500] {
            let items: Vec<usize> = (0..count).collect();
            let worked = AtomicUsize::new(0);
            let came = one_by_one(&items, |item| {
                worked.fetch_add(1, Ordering::Relaxed);
                item * 2
            });
            assert_eq!(came, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            assert_eq!(worked.into_inner(), count);
        }
    }
}
