//! Tables whose cells stand below their headings, as Go's tabwriter makes them for docker and crictl.

/// Headings read of one line; every row is compared with each.
pub(super) const MOST: usize = 64;

/// The headings of a table and where their columns begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Heading and first character.
    heads: Vec<(String, usize)>,
}

impl Columns {
    /// Reads a line of headings, which are two blanks or more apart; within one there may be one blank.
    #[must_use]
    pub fn of(header: &str) -> Self {
        let mut heads: Vec<(String, usize)> = Vec::new();
        let mut blanks = 2;
        for (at, c) in header.chars().enumerate() {
            if c == ' ' || c == '\t' {
                blanks += 1;
                continue;
            }
            if let Some((name, _)) = heads.last_mut().filter(|_| blanks < 2) {
                name.extend((blanks == 1).then_some(' '));
                name.push(c);
            } else if heads.len() == MOST {
                break;
            } else {
                heads.push((c.to_string(), at));
            }
            blanks = 0;
        }
        Self { heads }
    }

    /// Tells whether all these headings are there.
    #[must_use]
    pub fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.heads.iter().any(|(head, _)| head == name))
    }

    /// Returns the cells of a line, as many as there are headings; those beyond its end are empty.
    #[must_use]
    pub fn cells<'a>(&self, line: &'a str) -> Vec<&'a str> {
        // tabwriter counts characters, not bytes.
        let mut starts = self.heads.iter().map(|(_, at)| *at).peekable();
        let mut cuts = Vec::with_capacity(self.heads.len() + 1);
        for (nth, (at, _)) in line.char_indices().enumerate() {
            while starts.next_if(|start| *start <= nth).is_some() {
                cuts.push(at);
            }
        }
        cuts.resize(self.heads.len() + 1, line.len());
        cuts.iter().zip(cuts.iter().skip(1)).map(|(from, to)| line.get(*from..*to).unwrap_or_default().trim()).collect()
    }

    /// Returns the cell below a heading.
    #[must_use]
    pub fn cell<'a>(&self, cells: &[&'a str], name: &str) -> Option<&'a str> {
        let at = self.heads.iter().position(|(head, _)| head == name)?;
        cells.get(at).copied()
    }
}
