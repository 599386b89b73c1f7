//! Which files go into the page when not all of them fit: what something rests on first, of each node as much as of any other.

use super::spool::{KeptNode, LeftOut};

/// Characters of evidence in a page, all nodes together; browsers open pages of this size in a second or two.
pub(super) const PAGE_MAX: u64 = 64 << 20;

/// Returns the characters that packed bytes take as base64 (RFC 4648, section 4).
pub(super) const fn encoded(len: u64) -> u64 {
    len.div_ceil(3) * 4
}

/// Marks what does not fit into `room` characters.
pub(super) fn share(nodes: &mut [KeptNode], room: u64) {
    let mut wanted: Vec<((bool, u64, usize), usize, usize)> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut of_node: Vec<(bool, u64, usize)> = Vec::new();
        for (file, kept) in node.files.iter().enumerate() {
            if let Ok(packed) = &kept.text {
                of_node.push((!kept.cited, encoded(packed.len), file));
            }
        }
        of_node.sort_unstable();
        // Small files first within a node; over nodes by what each has had before, so that none takes all the room.
        let mut had = 0;
        for (rank, (uncited, size, file)) in of_node.into_iter().enumerate() {
            had += size;
            wanted.push(((uncited, had, rank), at, file));
        }
    }
    wanted.sort_unstable();
    let mut left = room;
    for (_, node, file) in wanted {
        let Some(kept) = nodes.get_mut(node).and_then(|node| node.files.get_mut(file)) else { continue };
        let size = kept.text.as_ref().map_or(0, |packed| encoded(packed.len));
        if size <= left {
            left -= size;
        } else {
            kept.text = Err(LeftOut::Room);
        }
    }
}
