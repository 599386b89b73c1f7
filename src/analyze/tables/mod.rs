//! Tables and lists that commands on nodes print: docker and crictl, process and memory tools, disks, the kernel log.
//!
//! All but [`dmesg`] read a text at hand: their files are small (what is not UTF-8 is for the caller to replace). A
//! row that cannot be read is left out, a number that cannot be read is `None`. Rows know their line for citing.

mod columns;
pub mod crictl;
pub mod dbus_cookie;
pub mod descriptors;
pub mod df;
pub mod dmesg;
pub mod docker_info;
pub mod docker_ps;
pub mod docker_stats;
pub mod hung;
pub mod iostat;
pub mod memory;
pub mod pressure;
pub mod ps;
pub mod quantity;
pub mod sections;
pub mod stat;
pub mod stuck;
pub mod top;
pub mod traffic;
pub mod vmstat;

pub use columns::Columns;

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod tests;
