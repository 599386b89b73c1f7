//! Groups of the inventory: `[groups.NAME]` with patterns, and the `groups` and `tags` of nodes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::document::Section;
use super::error::{InventoryError, did_you_mean};
use super::local::Local;
use super::names::{Roster, choose};
use super::pattern::{self, Pattern, Subject};
use super::schema::{Group, Inventory, Node};
use super::settings::Settings;
use super::settings_keys::read_settings;
use super::target::NodeName;

/// A group as declared, its patterns not yet resolved.
pub(crate) struct Declared {
    name: String,
    patterns: Vec<Pattern>,
    settings: Settings,
    line: usize,
    /// The place of its `nodes`, for messages: file and line.
    place: String,
}

/// A group or tag that nodes put themselves into.
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// Indices into the nodes of the inventory.
    pub(crate) nodes: Range<usize>,
    /// Set for `groups`, which must be declared: file and line.
    pub(crate) must_exist: Option<(String, usize)>,
}

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match pattern::parse(&format!("@{name}")) {
        Ok(Pattern { subject: Subject::Group(_), .. }) => Ok(()),
        _ => Err(format!("{name:?} cannot be a group name: it may hold letters, digits, '.', '_' and '-'")),
    }
}

pub(crate) fn unknown<'a>(title: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut hint = did_you_mean(name, names.clone(), 3);
    if hint.is_empty() {
        let all: Vec<&str> = names.take(12).collect();
        hint = if all.is_empty() { ": it has none".to_owned() } else { format!(": there are {}", all.join(", ")) };
    }
    format!("{title} holds no group {name}{hint}")
}

/// Reads `[groups.NAME]`, in the order of the file.
pub(crate) fn read(root: &Section<'_>, base: &Path, local: &Local) -> Result<Vec<Declared>, InventoryError> {
    let mut declared = Vec::new();
    let Some(groups) = root.get("groups") else { return Ok(declared) };
    for (name, entry) in groups.section()?.entries() {
        check_name(name).map_err(|reason| entry.fail(&reason))?;
        let section = entry.section()?;
        let mut patterns = Vec::new();
        let mut place = String::new();
        if let Some(list) = section.get("nodes") {
            place = format!("`{}` at {}:{}", list.path, section.file(), list.line());
            for item in list.strings("a node pattern")? {
                let parsed =
                    pattern::parse_list(item.string("a node pattern")?).map_err(|e| item.fail(&e.to_string()))?;
                for pattern in &parsed {
                    check_pattern(pattern).map_err(|reason| item.fail(&reason))?;
                }
                patterns.extend(parsed);
            }
        }
        let settings = read_settings(&section, base, local)?;
        section.finish()?;
        declared.push(Declared { name: name.to_owned(), patterns, settings, line: entry.line(), place });
    }
    Ok(declared)
}

fn check_pattern(pattern: &Pattern) -> Result<(), String> {
    match &pattern.subject {
        Subject::Stdin => Err("\"-\" is for the command line only".to_owned()),
        Subject::Address { .. } => {
            Err("an address has no name: give it a [[node]] entry with name and address".to_owned())
        }
        Subject::Names(names) if names.user.is_some() || names.port.is_some() => {
            Err("user and port have keys of their own in a group".to_owned())
        }
        _ => Ok(()),
    }
}

/// Fills in the groups of an inventory whose nodes are known.
pub(crate) fn resolve(
    inventory: &mut Inventory,
    declared: Vec<Declared>,
    wanted: &[Wanted],
    max: usize,
) -> Result<(), InventoryError> {
    if inventory.nodes.is_empty() {
        // An inventory that lists its nodes in groups only.
        introduce(inventory, &declared, max)?;
    }
    let mut tagged: BTreeMap<&str, Vec<NodeName>> = BTreeMap::new();
    for group in wanted {
        if let Some((file, line)) = &group.must_exist
            && !declared.iter().any(|d| d.name == group.name)
        {
            let names = declared.iter().map(|d| d.name.as_str());
            let text = unknown(&format!("`node.groups` at {file}:{line}: the inventory"), &group.name, names);
            return Err(InventoryError::File(format!("{text} (add [groups.{}], or use `tags`)", group.name)));
        }
        let nodes = inventory.names.get(group.nodes.clone()).unwrap_or_default();
        tagged.entry(&group.name).or_default().extend_from_slice(nodes);
    }
    let resolver = Resolver { inventory, declared: &declared, tagged: &tagged, max };
    let mut done = HashMap::new();
    for group in &declared {
        let members = resolver.members(&group.name, &mut Vec::new(), &mut done)?;
        done.insert(group.name.clone(), members);
    }
    let mut groups = Vec::new();
    for group in declared {
        let members = done.remove(&group.name).unwrap_or_default();
        groups.push(Group { name: group.name, members, settings: group.settings, line: group.line });
    }
    for (name, members) in tagged {
        if !groups.iter().any(|g: &Group| g.name == name) {
            groups.push(Group { name: name.to_owned(), members, settings: Settings::default(), line: 0 });
        }
    }
    for group in &groups {
        for member in &group.members {
            if let Some(node) = inventory.places.get(member).and_then(|place| inventory.nodes.get_mut(*place)) {
                node.groups.push(group.name.clone());
            }
        }
    }
    inventory.groups = groups;
    Ok(())
}

fn introduce(inventory: &mut Inventory, declared: &[Declared], max: usize) -> Result<(), InventoryError> {
    for group in declared {
        for pattern in group.patterns.iter().filter(|p| !p.exclude) {
            let Subject::Names(names) = &pattern.subject else { continue };
            if names.glob {
                continue;
            }
            let fail = |reason: String| InventoryError::File(format!("{}: {reason}", group.place));
            let left = max.saturating_sub(inventory.nodes.len());
            for name in names.expand(left).map_err(|count| {
                fail(format!(
                    "{:?} stands for {count} nodes, and {max} are allowed in all: raise limits.max-nodes",
                    pattern.text
                ))
            })? {
                let name: NodeName = name.parse().map_err(|error| fail(format!("{error}")))?;
                if !inventory.places.contains_key(&name) {
                    let settings = Arc::new(Settings::default());
                    inventory.add(Node { name, address: None, groups: Vec::new(), settings, line: group.line });
                }
            }
        }
    }
    Ok(())
}

struct Resolver<'a> {
    inventory: &'a Inventory,
    declared: &'a [Declared],
    tagged: &'a BTreeMap<&'a str, Vec<NodeName>>,
    max: usize,
}

impl Resolver<'_> {
    /// Returns the members of a group. `above` holds the groups that are being resolved, to find cycles.
    fn members(
        &self,
        name: &str,
        above: &mut Vec<String>,
        done: &mut HashMap<String, Vec<NodeName>>,
    ) -> Result<Vec<NodeName>, InventoryError> {
        if let Some(members) = done.get(name) {
            return Ok(members.clone());
        }
        let tagged = self.tagged.get(name).cloned().unwrap_or_default();
        let Some(group) = self.declared.iter().find(|d| d.name == name) else { return Ok(tagged) };
        let fail = |reason: String| InventoryError::File(format!("{}: {reason}", group.place));
        if above.iter().any(|n| n == name) {
            return Err(fail(format!("the groups go in a circle: {} → {name}", above.join(" → "))));
        }
        above.push(name.to_owned());
        let mut known = HashMap::new();
        for pattern in &group.patterns {
            let Subject::Group(other) = &pattern.subject else { continue };
            if !self.tagged.contains_key(other.as_str()) && !self.declared.iter().any(|d| d.name == *other) {
                let names = self.declared.iter().map(|d| d.name.as_str()).chain(self.tagged.keys().copied());
                return Err(fail(unknown("the inventory", other, names)));
            }
            known.insert(other.clone(), self.members(other, above, done)?);
        }
        above.pop();
        let mut members = if group.patterns.is_empty() {
            Vec::new()
        } else {
            let view = View { inventory: self.inventory, groups: known };
            let chosen = choose(&group.patterns, Some(&view), self.max, &mut Vec::new());
            chosen.map_err(|error| fail(error.to_string()))?.into_iter().map(|c| c.name).collect()
        };
        let mut held: HashSet<NodeName> = members.iter().cloned().collect();
        members.extend(tagged.into_iter().filter(|name| held.insert(name.clone())));
        done.insert(name.to_owned(), members.clone());
        Ok(members)
    }
}

/// The inventory as its own groups see it while they are being resolved.
struct View<'a> {
    inventory: &'a Inventory,
    groups: HashMap<String, Vec<NodeName>>,
}

impl Roster for View<'_> {
    fn title(&self) -> String {
        "the inventory".to_owned()
    }

    fn names(&self) -> &[NodeName] {
        &self.inventory.names
    }

    fn holds(&self, name: &NodeName) -> bool {
        self.inventory.places.contains_key(name)
    }

    fn group(&self, name: &str) -> Result<Vec<NodeName>, InventoryError> {
        Ok(self.groups.get(name).cloned().unwrap_or_default())
    }
}
