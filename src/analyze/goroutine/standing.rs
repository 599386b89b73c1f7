//! What stands still between two dumps of one process: goroutines that are in the same place in both. Idle workers
//! stand too; which of them matter is for rules to say.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::dump::{Dump, Signature, Stack};

/// A stack that goroutines have in both dumps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The stack in the earlier dump.
    pub earlier: &'a Stack,
    /// The stack in the later one.
    pub later: &'a Stack,
    /// How many stand. Without numbers (`ids` is empty) it is the smaller count of both, which says at most so many.
    pub count: u64,
    /// Numbers of the goroutines, in their order in the later dump; empty if one dump is grouped.
    pub ids: Vec<u64>,
}

/// Returns the stacks that goroutines have in both dumps, those of most goroutines first. Goroutines are told by
/// number; if one dump is grouped and has none, by their stack alone. Both must be of one process: numbers of
/// different processes have nothing to do with each other.
#[must_use]
pub fn standing<'a>(earlier: &'a Dump, later: &'a Dump) -> Vec<Standing<'a>> {
    let numbered = |dump: &Dump| dump.stacks.iter().any(|stack| !stack.goroutines.is_empty());
    let mut found =
        if numbered(earlier) && numbered(later) { by_number(earlier, later) } else { by_stack(earlier, later) };
    found
        .sort_by_key(|standing| (Reverse(standing.count), Reverse(standing.later.longest), standing.later.lines.first));
    found
}

fn by_number<'a>(earlier: &'a Dump, later: &'a Dump) -> Vec<Standing<'a>> {
    let mut before: HashMap<u64, (&Stack, Signature)> = HashMap::new();
    for stack in &earlier.stacks {
        let signature = stack.signature();
        before.extend(stack.goroutines.iter().map(|goroutine| (goroutine.id, (stack, signature))));
    }
    let mut found = Vec::new();
    for stack in &later.stacks {
        // A goroutine without frames stands nowhere in particular.
        if stack.frames.is_empty() {
            continue;
        }
        let signature = stack.signature();
        let start = found.len();
        for goroutine in &stack.goroutines {
            let Some((was, _)) = before.get(&goroutine.id).filter(|(_, old)| *old == signature) else { continue };
            let old =
                found.iter_mut().skip(start).find(|standing: &&mut Standing<'_>| std::ptr::eq(standing.earlier, *was));
            if let Some(standing) = old {
                standing.count += 1;
                standing.ids.push(goroutine.id);
            } else if found.len() - start < 64 {
                // Equal signatures with different creators; so many of them do not occur.
                found.push(Standing { earlier: was, later: stack, count: 1, ids: vec![goroutine.id] });
            }
        }
    }
    found
}

fn by_stack<'a>(earlier: &'a Dump, later: &'a Dump) -> Vec<Standing<'a>> {
    let mut before: HashMap<Signature, (&Stack, u64)> = HashMap::new();
    for stack in &earlier.stacks {
        before.entry(stack.signature()).or_insert((stack, 0)).1 += stack.count;
    }
    let mut found = Vec::new();
    for stack in later.stacks.iter().filter(|stack| !stack.frames.is_empty()) {
        // What one stack has used up is not there for another with the same signature.
        let Some((was, left)) = before.get_mut(&stack.signature()) else { continue };
        let count = stack.count.min(*left);
        *left -= count;
        if count > 0 {
            found.push(Standing { earlier: was, later: stack, count, ids: Vec::new() });
        }
    }
    found
}
