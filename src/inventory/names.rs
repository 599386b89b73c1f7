//! From patterns to names: groups and globs are looked up, exclusions taken out, duplicates dropped.
//!
//! Used for the command line and for the `nodes` of a group in the inventory. Knows nothing of how a
//! node is reached.

use std::collections::{HashMap, HashSet};

use super::error::{InventoryError, did_you_mean, shorten};
use super::fold::fold;
use super::pattern::{Names, Pattern, Subject, address_name, glob_matches};
use super::target::NodeName;

/// What the inventory knows of names.
pub(crate) trait Roster {
    /// How messages call it.
    fn title(&self) -> String;
    /// Every node, in the order of the file. Empty: any name goes.
    fn names(&self) -> &[NodeName];
    /// Whether this node is there.
    fn holds(&self, name: &NodeName) -> bool;
    /// The members of a group; an error names the groups there are.
    fn group(&self, name: &str) -> Result<Vec<NodeName>, InventoryError>;
}

/// A node that was named, with what the pattern said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) name: NodeName,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    /// An IPv6 address; its name is derived from it.
    pub(crate) address: Option<String>,
}

/// Returns the nodes in the order of their first mention.
///
/// # Errors
/// An unknown name or group, a glob or group without an inventory, more than `max` nodes, nothing left.
pub(crate) fn choose(
    patterns: &[Pattern],
    roster: Option<&dyn Roster>,
    max: usize,
    warnings: &mut Vec<String>,
) -> Result<Vec<Chosen>, InventoryError> {
    let mut choice = Choice { max, ..Choice::default() };
    if patterns.iter().all(|p| p.exclude) {
        let all = roster.map(Roster::names).unwrap_or_default();
        if all.is_empty() {
            return Err(needs_inventory(patterns.first().map_or("", |p| p.text.as_str()), "only excludes nodes"));
        }
        for name in all {
            choice.add(plain(name.clone()))?;
        }
    }
    for pattern in patterns.iter().filter(|p| !p.exclude) {
        for chosen in resolve(pattern, roster, max)? {
            choice.add(chosen)?;
        }
    }
    for pattern in patterns.iter().filter(|p| p.exclude) {
        let before = choice.list.len();
        match &pattern.subject {
            // A glob can only exclude what was chosen, so it needs no inventory.
            Subject::Names(names) if names.glob => {
                let globs = names.expand(max).map_err(|count| too_many(&pattern.text, &count, max))?;
                choice.list.retain(|c| !globs.iter().any(|glob| glob_matches(glob, c.name.as_str())));
            }
            _ => {
                let out: HashSet<NodeName> = resolve(pattern, roster, max)?.into_iter().map(|c| c.name).collect();
                choice.list.retain(|c| !out.contains(&c.name));
            }
        }
        if before == choice.list.len() {
            warnings.push(format!("the exclusion {:?} leaves out no node that was chosen", shorten(&pattern.text)));
        }
    }
    if choice.list.is_empty() {
        return Err(InventoryError::Selection("no node is left after groups and exclusions are applied".to_owned()));
    }
    Ok(choice.list)
}

#[derive(Default)]
struct Choice {
    list: Vec<Chosen>,
    places: HashMap<NodeName, usize>,
    max: usize,
}

impl Choice {
    fn add(&mut self, new: Chosen) -> Result<(), InventoryError> {
        if let Some(old) = self.places.get(&new.name).and_then(|place| self.list.get_mut(*place)) {
            let clash = |what: &str| {
                Err(InventoryError::Selection(format!(
                    "{} is named twice with different {what}: name it once",
                    new.name
                )))
            };
            match (&old.user, &new.user) {
                (Some(a), Some(b)) if a != b => return clash("users"),
                (None, Some(_)) => old.user = new.user,
                _ => {}
            }
            match (old.port, new.port) {
                (Some(a), Some(b)) if a != b => return clash("ports"),
                (None, Some(_)) => old.port = new.port,
                _ => {}
            }
            if old.address != new.address {
                return clash("addresses");
            }
            return Ok(());
        }
        if self.list.len() >= self.max {
            return Err(InventoryError::Selection(format!(
                "more than {} nodes were named: name fewer, or raise --max-nodes",
                self.max
            )));
        }
        self.places.insert(new.name.clone(), self.list.len());
        self.list.push(new);
        Ok(())
    }
}

const fn plain(name: NodeName) -> Chosen {
    Chosen { name, user: None, port: None, address: None }
}

fn resolve(pattern: &Pattern, roster: Option<&dyn Roster>, max: usize) -> Result<Vec<Chosen>, InventoryError> {
    match &pattern.subject {
        Subject::Stdin => {
            Err(InventoryError::Selection("\"-\" stands for names on standard input, but none were given".into()))
        }
        Subject::Group(group) => {
            let roster = roster.ok_or_else(|| needs_inventory(&pattern.text, "names a group"))?;
            Ok(roster.group(group)?.into_iter().map(plain).collect())
        }
        Subject::Address { address, user, port } => {
            let name = to_name(&pattern.text, &address_name(address))?;
            require(roster, std::slice::from_ref(&name))?;
            Ok(vec![Chosen { name, user: user.clone(), port: *port, address: Some(address.clone()) }])
        }
        Subject::Names(names) => resolve_names(&pattern.text, names, roster, max),
    }
}

fn resolve_names(
    text: &str,
    names: &Names,
    roster: Option<&dyn Roster>,
    max: usize,
) -> Result<Vec<Chosen>, InventoryError> {
    let expanded = names.expand(max).map_err(|count| too_many(text, &count, max))?;
    let found: Vec<NodeName> = if names.glob {
        let all = roster.map(Roster::names).unwrap_or_default();
        let Some(roster) = roster.filter(|_| !all.is_empty()) else {
            return Err(needs_inventory(text, "holds '*' or '?'"));
        };
        let mut found = Vec::new();
        for glob in &expanded {
            found.extend(all.iter().filter(|name| glob_matches(glob, name.as_str())).cloned());
        }
        if found.is_empty() {
            return Err(InventoryError::Selection(format!(
                "{:?} matches no node of {}",
                shorten(text),
                roster.title()
            )));
        }
        found
    } else {
        let found = expanded.iter().map(|name| to_name(text, name)).collect::<Result<Vec<_>, _>>()?;
        require(roster, &found)?;
        found
    };
    let chosen = |name| Chosen { name, user: names.user.clone(), port: names.port, address: None };
    Ok(found.into_iter().map(chosen).collect())
}

fn to_name(pattern: &str, name: &str) -> Result<NodeName, InventoryError> {
    name.parse().map_err(|error| InventoryError::Selection(format!("pattern {:?}: {error}", shorten(pattern))))
}

/// Refuses names that the inventory does not hold.
fn require(roster: Option<&dyn Roster>, names: &[NodeName]) -> Result<(), InventoryError> {
    let Some(roster) = roster.filter(|r| !r.names().is_empty()) else { return Ok(()) };
    let unknown: Vec<NodeName> = names.iter().filter(|name| !roster.holds(name)).cloned().collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    let hint = did_you_mean(first.as_str(), roster.names().iter().map(NodeName::as_str), 3);
    let hint = if hint.is_empty() { ": `plegcollect nodes` lists what it holds".to_owned() } else { hint };
    Err(InventoryError::Selection(format!("{} holds no node {}{hint}", roster.title(), shorten(&fold(&unknown)))))
}

fn needs_inventory(pattern: &str, why: &str) -> InventoryError {
    InventoryError::Selection(format!(
        "pattern {:?} {why}, which needs an inventory with nodes in it: give one with --inventory, or write the names out",
        shorten(pattern)
    ))
}

fn too_many(pattern: &str, count: &str, max: usize) -> InventoryError {
    InventoryError::Selection(format!(
        "pattern {:?} stands for {count} nodes, and {max} are allowed: name fewer, or raise --max-nodes",
        shorten(pattern)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::pattern::parse_list;
    use super::*;

    struct Book(Vec<NodeName>);

    impl Roster for Book {
        fn title(&self) -> String {
            "inv.toml".into()
        }
        fn names(&self) -> &[NodeName] {
            &self.0
        }
        fn holds(&self, name: &NodeName) -> bool {
            self.0.contains(name)
        }
        fn group(&self, name: &str) -> Result<Vec<NodeName>, InventoryError> {
            let starts = |n: &&NodeName| n.as_str().starts_with(name);
            Ok(self.0.iter().filter(starts).cloned().collect())
        }
    }

    fn book(names: &str) -> Book {
        Book(names.split_whitespace().map(|n| n.parse().unwrap()).collect())
    }

    fn run(list: &str, book: Option<&Book>, max: usize) -> Result<(String, Vec<String>), String> {
        let mut warnings = Vec::new();
        let patterns = parse_list(list).map_err(|e| e.to_string())?;
        let chosen =
            choose(&patterns, book.map(|b| b as &dyn Roster), max, &mut warnings).map_err(|e| e.to_string())?;
        Ok((chosen.iter().map(|c| c.name.to_string()).collect::<Vec<_>>().join(" "), warnings))
    }

    #[test]
    fn chooses() {
        let b = book("web-1 web-2 db-1 db-2 db-3 db-10");
        for (list, with, want) in [
            ("n2,n1,n2", false, "n2 n1"),
            ("n[1-3],!n2", false, "n1 n3"),
            ("!n2,n[1-3]", false, "n1 n3"),
            ("n[1-3],!n[2-3],n3", false, "n1"),
            ("n[1-12],!n1*", false, "n2 n3 n4 n5 n6 n7 n8 n9"),
            ("[fe80::1]:22,n1", false, "fe80--1 n1"),
            ("db-*", true, "db-1 db-2 db-3 db-10"),
            ("db-?", true, "db-1 db-2 db-3"),
            ("@web,db-1", true, "web-1 web-2 db-1"),
            ("!@db", true, "web-1 web-2"),
            ("!db-*,!web-2", true, "web-1"),
            ("*,!@web,!db-10", true, "db-1 db-2 db-3"),
            ("[a-z]b-1*", true, ""),
            ("d[a-c]-1*", true, "db-1 db-10"),
        ] {
            let got = run(list, with.then_some(&b), 100);
            if want.is_empty() {
                assert!(got.is_err() || got.unwrap().0 == "db-1 db-10", "{list}");
            } else {
                assert_eq!(got.unwrap(), (want.to_owned(), vec![]), "{list}");
            }
        }
    }

    #[test]
    fn refuses() {
        let b = book("worker-001 worker-002 db-1");
        for (list, with, part) in [
            ("worker-01", true, "inv.toml holds no node worker-01: did you mean `worker-001` or `worker-002`?"),
            ("worker-[001-009]", true, "holds no node worker-00[3-9]"),
            ("!worker-009", true, "holds no node worker-009"),
            ("completely-different-name", true, "`plegcollect nodes` lists"),
            ("zz-*", true, "matches no node of inv.toml"),
            ("db-*", false, "needs an inventory"),
            ("@db", false, "needs an inventory"),
            ("!n1", false, "only excludes nodes"),
            ("-", false, "standard input"),
            ("n1,!n1", false, "no node is left"),
            ("@nothing", true, "no node is left"),
            ("n[1-101]", false, "stands for 101 nodes, and 100 are allowed"),
            ("n[1-60],m[1-60]", false, "more than 100 nodes"),
            ("n1,!m[1-999999999]", false, "999,999,999"),
            ("root@n1,ops@n1", false, "different users"),
            ("n1:22,n1:23", false, "different ports"),
            ("n[1-3]-,x", false, ""),
        ] {
            match run(list, with.then_some(&b), 100) {
                Err(error) => assert!(error.contains(part), "{list}: {error}"),
                Ok(got) => assert!(part.is_empty(), "{list}: {got:?}"),
            }
        }
    }

    #[test]
    fn warns_of_an_exclusion_without_effect_and_merges_details() {
        let (names, warnings) = run("n1,!n2", None, 100).unwrap();
        assert_eq!(names, "n1");
        assert!(warnings[0].contains("\"!n2\""), "{warnings:?}");
        let mut none = Vec::new();
        let chosen = choose(&parse_list("n1,root@n1:2222,n1").unwrap(), None, 9, &mut none).unwrap();
        assert_eq!((chosen[0].user.as_deref(), chosen[0].port, chosen.len()), (Some("root"), Some(2222), 1));
    }
}
