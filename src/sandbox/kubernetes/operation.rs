//! What may be asked of objects: the verbs of the API, of an object, of a list and of subresources.

use http::Method;

use super::failure::Failure;
use super::request::Asked;
use super::watch;

/// A verb and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    List,
    Watch,
    Create,
    DeleteCollection,
    Get,
    Update,
    Patch,
    Delete,
    GetStatus,
    UpdateStatus,
    PatchStatus,
    GetScale,
    UpdateScale,
    PatchScale,
    Evict,
    Finalize,
}

impl Operation {
    #[cfg(test)]
    pub(super) const ALL: [Self; 16] = [
        Self::List,
        Self::Watch,
        Self::Create,
        Self::DeleteCollection,
        Self::Get,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::GetStatus,
        Self::UpdateStatus,
        Self::PatchStatus,
        Self::GetScale,
        Self::UpdateScale,
        Self::PatchScale,
        Self::Evict,
        Self::Finalize,
    ];

    /// Returns its name, as rules of access and `docs/simulation.md` have it.
    #[cfg(test)]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::GetStatus => "get status",
            Self::UpdateStatus => "update status",
            Self::PatchStatus => "patch status",
            Self::GetScale => "get scale",
            Self::UpdateScale => "update scale",
            Self::PatchScale => "patch scale",
            Self::Evict => "create eviction",
            Self::Finalize => "update finalize",
        }
    }

    /// Returns what a request asks for; a failure where there is no such thing, or the simulation has none.
    pub(super) fn of(asked: &Asked) -> Result<Self, Failure> {
        let named = asked.name.is_some();
        match (&asked.method, named, asked.subresource.as_str()) {
            _ if watch::is_one(asked) => Ok(Self::Watch),
            (&Method::GET | &Method::HEAD, false, "") => Ok(Self::List),
            (&Method::POST, false, "") => Ok(Self::Create),
            (&Method::DELETE, false, "") => Ok(Self::DeleteCollection),
            (&Method::GET | &Method::HEAD, true, "") => Ok(Self::Get),
            (&Method::PUT, true, "") => Ok(Self::Update),
            (&Method::PATCH, true, "") => Ok(Self::Patch),
            (&Method::DELETE, true, "") => Ok(Self::Delete),
            (_, true, "status") if !asked.kind.status => Err(Failure::nowhere()),
            (&Method::GET, true, "status") => Ok(Self::GetStatus),
            (&Method::PUT, true, "status") => Ok(Self::UpdateStatus),
            (&Method::PATCH, true, "status") => Ok(Self::PatchStatus),
            (_, true, "scale") if asked.kind.scale.is_none() => Err(Failure::nowhere()),
            (&Method::GET, true, "scale") => Ok(Self::GetScale),
            (&Method::PUT, true, "scale") => Ok(Self::UpdateScale),
            (&Method::PATCH, true, "scale") => Ok(Self::PatchScale),
            (&Method::POST, true, "eviction") if asked.kind.kind == "Pod" => Ok(Self::Evict),
            (&Method::PUT, true, "finalize") if asked.kind.kind == "Namespace" => {
                Ok(Self::Finalize)
            }
            (
                method,
                true,
                subresource @ ("log"
                | "exec"
                | "attach"
                | "portforward"
                | "proxy"
                | "binding"
                | "ephemeralcontainers"
                | "token"
                | "resize"),
            ) => {
                let what = format!("{method} {}/{subresource}", asked.kind.plural);
                Err(Failure::beyond(&what))
            }
            (_, true, "") | (_, false, _) => Err(Failure::method()),
            (_, true, _) => Err(Failure::nowhere()),
        }
    }
}
