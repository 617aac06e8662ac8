//! Programs a rehearsal really starts: in a network of their own that has loopback alone, on which the simulation
//! answers; with an environment, keys and a kubeconfig of the simulation's. Where the host allows no such network, they
//! are refused.
//!
//! `unshare` starts this program's [`inside`] half there, which listens and hands the listeners out here: a listener
//! stays in the network it was made in.

pub(crate) mod inside;

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;

use super::process::INHERIT;
use crate::sandbox::Sandbox;
use crate::sandbox::front::{Front, kubeconfig};

/// Access key and secret that open nothing.
const KEY: &str = "REHEARSAL";
/// Variables of this process a program gets.
const KEPT: [&str; 6] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM"];
const KUBECONFIG: &str = "kubeconfig";
const AWS_CONFIG: &str = "aws-config";
const AWS_KEYS: &str = "aws-credentials";
/// Services whose endpoint the AWS CLI takes from its configuration alone.
const SERVICES: [&str; 5] = ["rds", "route_53", "s3", "sts", "health"];

/// A place for one program: its files, which go with it, and the way its listeners come.
pub(super) struct Place {
    sandbox: Sandbox,
    folder: PathBuf,
    ours: UnixStream,
}

impl Place {
    /// Prepares a place; returns it with the command that starts a program in it.
    pub(super) fn prepare(
        sandbox: &Sandbox,
        argv: &[String],
        env: &BTreeMap<String, String>,
    ) -> io::Result<(Self, Command)> {
        let folder = std::env::temp_dir().join(format!("phoenix-dr-{}", ulid::Ulid::generate()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let (ours, theirs) = UnixStream::pair()?;
        let place = Self { sandbox: sandbox.clone(), folder, ours };
        std::fs::create_dir(place.folder.join("home"))?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--"]).arg(std::env::current_exe()?);
        command.arg(inside::WORD).arg(place.ways().to_string()).args(argv);
        command
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        // What is handed on from this process is the real estate's.
        command.envs(env.iter().filter(|(_, value)| *value != INHERIT));
        command.envs(place.environment()).stdin(Stdio::from(OwnedFd::from(theirs)));
        Ok((place, command))
    }

    /// How many ways lead into the simulation: to AWS, and to each cluster.
    fn ways(&self) -> usize {
        1 + self.sandbox.world().estate.clusters.len()
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let file = |name: &str| self.folder.join(name);
        vec![
            ("HOME", file("home")),
            ("TMPDIR", self.folder.clone()),
            ("KUBECONFIG", file(KUBECONFIG)),
            ("AWS_CONFIG_FILE", file(AWS_CONFIG)),
            ("AWS_SHARED_CREDENTIALS_FILE", file(AWS_KEYS)),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_STS_REGIONAL_ENDPOINTS", "regional".into()),
            ("AWS_PAGER", PathBuf::new()),
        ]
    }

    /// Waits for the ways in and serves them; the program starts then.
    pub(super) async fn open(&mut self) -> io::Result<Vec<Front>> {
        let ways = self.ways();
        let listeners = loop {
            self.ours.readable().await?;
            let taken = self.ours.try_io(Interest::READABLE, || take(&self.ours, ways));
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => break taken?,
            }
        };
        if listeners.len() != ways {
            return Err(io::Error::other("it could not be cut off from the network"));
        }
        let mut listeners = listeners
            .into_iter()
            .map(|listener| TcpListener::from_std(std::net::TcpListener::from(listener)));
        let mut next = || listeners.next().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        let aws = Front::on(next()?, crate::sandbox::Front::to(self.sandbox.clone()))?;
        let mut contexts = Vec::new();
        let mut fronts = Vec::new();
        for (region, cluster) in &self.sandbox.world().estate.clusters {
            let listener = next()?;
            // A cluster the world has not is one nobody answers for.
            let Some(service) = self.sandbox.kubernetes(region) else { continue };
            let front = Front::on(listener, service)?;
            contexts.push((cluster.context.clone(), front.address()));
            fronts.push(front);
        }
        std::fs::write(self.folder.join(KUBECONFIG), kubeconfig(&contexts))?;
        self.write_aws(&format!("http://{}", aws.address()))?;
        fronts.push(aws);
        self.ours.write_all(b".").await?;
        Ok(fronts)
    }

    fn write_aws(&self, endpoint: &str) -> io::Result<()> {
        let mut config = format!(
            "[default]\nendpoint_url = {endpoint}\nservices = rehearsal\ns3 =\n  addressing_style = path\n\n[services rehearsal]\n"
        );
        for service in SERVICES {
            config += &format!("{service} =\n  endpoint_url = {endpoint}\n");
        }
        std::fs::write(self.folder.join(AWS_CONFIG), config)?;
        let keys = format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {KEY}\n");
        std::fs::write(self.folder.join(AWS_KEYS), keys)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::debug!(%error, folder = %folder.display(), "a confined program's folder stays");
    }
}

/// Takes listeners that were handed out; none when the other end has gone away.
fn take(from: &UnixStream, most: usize) -> io::Result<Vec<OwnedFd>> {
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(most))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut told = [0_u8; 1];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(from.as_fd(), &mut [IoSliceMut::new(&mut told)], &mut control, flags)?;
    let messages = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(handles) => Some(handles),
        _ => None,
    });
    Ok(messages.flatten().collect())
}
