//! Counters of the network: interfaces by `ip -s addr` and /proc/net/dev, TCP by /proc/net/netstat and /proc/net/snmp, sockets by
//! /proc/net/sockstat, tracked connections by /proc.

use std::collections::BTreeMap;

use super::sections::sections;

/// Interfaces listed of one node; each pod has one.
const MOST: usize = 4000;

/// What an interface lost since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name, without its peer: `eth0`.
    pub name: String,
    /// It is one end of a pair, or stands on another interface: `veth3a@if2`.
    pub paired: bool,
    /// Errors and drops, both directions.
    pub lost: u64,
}

/// Reads `ip -s addr` or /proc/net/dev.
#[must_use]
pub fn interfaces(text: &str) -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    let mut counts = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if counts {
            counts = false;
            // bytes packets errors dropped …
            let lost = trimmed.split_ascii_whitespace().skip(2).take(2).filter_map(|w| w.parse::<u64>().ok());
            if let Some(last) = found.last_mut() {
                last.lost = lost.fold(last.lost, u64::saturating_add);
            }
        } else if trimmed.starts_with("RX:") || trimmed.starts_with("TX:") {
            counts = true;
        } else if found.len() >= MOST {
            break;
        } else if !line.starts_with(' ') && trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            // `2: eth0@if5: <BROADCAST,…`
            let Some((_, rest)) = trimmed.split_once(": ") else { continue };
            let Some((name, _)) = rest.split_once(": ") else { continue };
            let (name, paired) = name.split_once('@').map_or((name, false), |(name, _)| (name, true));
            found.push(Interface { name: name.to_owned(), paired, lost: 0 });
        } else if let Some((name, rest)) = trimmed.split_once(':') {
            found.extend(of_dev(name, rest));
        }
    }
    found
}

/// Reads the rest of a line of /proc/net/dev: eight numbers received, eight sent.
fn of_dev(name: &str, rest: &str) -> Option<Interface> {
    let numbers: Vec<u64> = rest.split_ascii_whitespace().map_while(|w| w.parse().ok()).take(17).collect();
    if numbers.len() != 16 || name.contains(' ') {
        return None;
    }
    let lost = [2, 3, 10, 11].iter().filter_map(|at| numbers.get(*at)).fold(0, |sum: u64, n| sum.saturating_add(*n));
    Some(Interface { name: name.to_owned(), paired: name.starts_with("veth"), lost })
}

/// Reads pairs of lines, `TcpExt: NAMES` and `TcpExt: VALUES`, as `TcpExt.ListenDrops`.
#[must_use]
pub fn protocols(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut names: Option<(&str, &str)> = None;
    for (head, rest) in text.lines().filter_map(|line| line.split_once(": ")) {
        match names.take() {
            Some((was, list)) if was == head => {
                let values = rest.split_ascii_whitespace();
                let pairs = list.split_ascii_whitespace().zip(values).take(1000);
                found.extend(pairs.filter_map(|(name, value)| Some((format!("{head}.{name}"), value.parse().ok()?))));
            }
            _ => names = Some((head, rest)),
        }
    }
    found
}

/// Returns a number of /proc/net/sockstat: `sockets: used 290`, `TCP: inuse 5 orphan 0 tw 3 …`.
#[must_use]
pub fn sockets(text: &str, line: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
    let mut words = rest.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let value = words.next()?;
        if word == key {
            return value.parse().ok();
        }
    }
    None
}

/// Tracked connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracked {
    /// How many.
    pub count: Option<u64>,
    /// How many there may be.
    pub most: Option<u64>,
    /// Packets dropped because there was no room, and early drops.
    pub dropped: Option<u64>,
}

/// Reads the sections of `nf_conntrack_count`, `nf_conntrack_max` and /proc/net/stat/nf_conntrack, whose numbers are hexadecimal,
/// one line a processor.
#[must_use]
pub fn tracked(text: &str) -> Tracked {
    let mut found = Tracked::default();
    for section in sections(text) {
        match section.name.rsplit('/').next().unwrap_or_default() {
            "nf_conntrack_count" => found.count = section.body.trim().parse().ok(),
            "nf_conntrack_max" => found.most = section.body.trim().parse().ok(),
            "nf_conntrack" => {
                let mut lines = section.body.lines();
                let heads: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().take(64).collect();
                let at: Vec<usize> = ["drop", "early_drop", "insert_failed"]
                    .iter()
                    .filter_map(|name| heads.iter().position(|head| head == name))
                    .collect();
                let of = |line: &str| {
                    let words: Vec<&str> = line.split_ascii_whitespace().take(64).collect();
                    let hex = |at: &usize| u64::from_str_radix(words.get(*at)?, 16).ok();
                    at.iter().filter_map(hex).fold(0, u64::saturating_add)
                };
                found.dropped = (!at.is_empty()).then(|| lines.map(of).fold(0, u64::saturating_add));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_both_forms_are_read() {
        let ip = "1: lo: <LOOPBACK,UP> mtu 65536\n    link/loopback 00:00:00:00:00:00\n    RX: bytes  packets  errors  dropped missed  mcast\n    \
                  100        5      0       0       0       0\n    TX: bytes  packets  errors  dropped carrier collsns\n    100        5      0       0       0       0\n\
                  2: eth0: <UP> mtu 1500\n    RX:  bytes packets errors dropped  missed   mcast\n     9    9    1    20    0    0\n    \
                  TX:  bytes packets errors dropped carrier collsns\n   9   9   3  4  0 0\n17: veth3a@if2: <UP> mtu 1500\n";
        let found = interfaces(ip);
        let told: Vec<(&str, bool, u64)> = found.iter().map(|i| (i.name.as_str(), i.paired, i.lost)).collect();
        assert_eq!(told, [("lo", false, 0), ("eth0", false, 28), ("veth3a", true, 0)]);
        let dev = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes\n\
                   eth0: 9 9 1 20 0 0 0 0 9 9 3 4 0 0 0 0\n";
        assert_eq!(interfaces(dev), [Interface { name: "eth0".into(), paired: false, lost: 28 }]);
        assert!(interfaces("RX:\n1 2 3 4\n::\n5:\n").is_empty());
    }

    #[test]
    fn counters_of_protocols_and_sockets_are_read_by_name() {
        let text = "==> /proc/net/netstat <==\nTcpExt: SyncookiesSent ListenDrops\nTcpExt: 0 17\nIpExt: InOctets\nIpExt: 5\n\
                    ==> /proc/net/snmp <==\nTcp: RtoAlgorithm MaxConn RetransSegs\nTcp: 1 -1 33\n";
        let found = protocols(text);
        assert_eq!((found.get("TcpExt.ListenDrops"), found.get("Tcp.RetransSegs")), (Some(&17), Some(&33)));
        assert_eq!(found.get("Tcp.MaxConn"), None, "it is -1");
        let sockstat = "sockets: used 290\nTCP: inuse 5 orphan 0 tw 3 alloc 8 mem 1\n";
        assert_eq!((sockets(sockstat, "sockets", "used"), sockets(sockstat, "TCP", "tw")), (Some(290), Some(3)));
        assert_eq!(sockets(sockstat, "TCP", "none"), None);
    }

    #[test]
    fn tracked_connections_count_in_hexadecimal() {
        let text = "==> /proc/sys/net/netfilter/nf_conntrack_count <==\n12\n==> /proc/sys/net/netfilter/nf_conntrack_max <==\n262144\n\
                    ==> /proc/net/stat/nf_conntrack <==\nentries  searched found drop early_drop\n0000000c  0 0 00000010 00000001\n0000000c  0 0 00000001 00000000\n";
        assert_eq!(tracked(text), Tracked { count: Some(12), most: Some(262_144), dropped: Some(18) });
    }
}
