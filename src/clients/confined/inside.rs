//! The inner half of a confinement: this program again, started by `unshare` in a network of its own, before anything
//! else of it runs. It opens the ways into the simulation there, hands them out, and becomes the program it was given.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, send, sendmsg, socket_with,
};

/// What stands first in the arguments of the inner half.
pub(super) const WORD: &str = "__confined";

/// Netlink: change a link, and say how it went.
const CHANGE_LINK: u16 = 16;
const REQUEST_AND_ANSWER: u16 = 1 | 4;
const IS_ERROR: u16 = 2;
const UP: u32 = 1;
/// The kernel gives loopback the first number of every network.
const LOOPBACK: u32 = 1;

/// Returns what the inner half was asked for, where this is it: how many ways in, and the program.
pub(crate) fn asked(arguments: &[OsString]) -> Option<(usize, &[OsString])> {
    let (count, argv) =
        arguments.get(1).filter(|word| *word == WORD).and(arguments.get(2..)?.split_first())?;
    Some((count.to_str()?.parse().ok()?, argv))
}

/// Becomes a program that sees nothing but loopback, on which so many ways lead into the simulation. Returns only why
/// that could not be.
pub(crate) fn become_program(ways: usize, argv: &[OsString]) -> Result<Infallible, String> {
    let step = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    alone().map_err(step("look at the network"))?;
    raise_loopback().map_err(step("bring loopback up"))?;
    let listener = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listeners: io::Result<Vec<TcpListener>> = (0..ways).map(|_| listener()).collect();
    let listeners = listeners.map_err(step("listen on loopback"))?;
    hand_out(&listeners).map_err(step("hand the ways in out"))?;
    drop(listeners);
    let (program, rest) = argv.split_first().ok_or("there is no program")?;
    let error = Command::new(program).args(rest).stdin(Stdio::null()).exec();
    Err(format!("start `{}`: {error}", program.to_string_lossy()))
}

/// Devices the kernel puts into every network of a host that has the modules of tunnels loaded, down and without an
/// address (its documentation of `net.core.fb_tunnels_only_for_init_net`). What they carry would go over another device.
const FALLBACKS: [&str; 10] = [
    "tunl0",
    "gre0",
    "gretap0",
    "erspan0",
    "ip_vti0",
    "ip6_vti0",
    "sit0",
    "ip6tnl0",
    "ip6gre0",
    "ip6gretap0",
];

/// Holds that nothing but loopback is there: a program must never run where more is.
fn alone() -> io::Result<()> {
    let devices = std::fs::read_to_string("/proc/self/net/dev")?;
    match leads_out(&devices) {
        None => Ok(()),
        Some(other) => Err(io::Error::other(format!("`{other}` is there besides loopback"))),
    }
}

/// Returns a device, of those the kernel lists, that may lead out of a network.
fn leads_out(devices: &str) -> Option<&str> {
    let names =
        devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    names.into_iter().find(|name| *name != "lo" && !FALLBACKS.contains(name))
}

fn raise_loopback() -> io::Result<()> {
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(CHANGE_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ANSWER.to_ne_bytes());
    // Sequence, sender; family and type of no particular link.
    message.extend([0; 12]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    send(&netlink, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 256];
    let (_, length) = recv(&netlink, &mut answer, RecvFlags::empty())?;
    let (Some(kind), Some(code)) = (answer[..length].get(4..6), answer[..length].get(16..20))
    else {
        return Err(io::Error::other("the kernel's answer is too short"));
    };
    let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
    match (u16::from_ne_bytes([kind[0], kind[1]]), code) {
        (IS_ERROR, 0) => Ok(()),
        (IS_ERROR, code) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::Error::other("the kernel answered something else")),
    }
}

/// Hands listeners out over standard input, which is a socket, and waits until they are served.
fn hand_out(listeners: &[TcpListener]) -> io::Result<()> {
    let out = io::stdin();
    let handles: Vec<_> = listeners.iter().map(TcpListener::as_fd).collect();
    let room = rustix::cmsg_space!(ScmRights(handles.len()));
    let mut space = vec![std::mem::MaybeUninit::uninit(); room];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&handles)) {
        return Err(io::Error::other("too many"));
    }
    sendmsg(out.as_fd(), &[IoSlice::new(b".")], &mut control, SendFlags::empty())?;
    let mut told = [0_u8; 1];
    match rustix::io::read(out.as_fd(), &mut told)? {
        0 => Err(io::Error::other("nobody serves them")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::leads_out;

    #[test]
    fn only_a_device_that_leads_out_is_in_the_way() {
        let listed = |names: &[&str]| {
            let lines =
                names.iter().map(|name| format!("{name:>6}: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"));
            let head = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n";
            std::iter::once(head.to_owned()).chain(lines).collect::<String>()
        };
        for (names, out) in [
            (&["lo"][..], None),
            (&["lo", "tunl0", "sit0", "ip6tnl0", "gre0"], None),
            (&["lo", "eth0"], Some("eth0")),
            (&["lo", "sit0", "sit1"], Some("sit1")),
            (&["lo", "wg0"], Some("wg0")),
        ] {
            assert_eq!(leads_out(&listed(names)), out);
        }
    }
}
