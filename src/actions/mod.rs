//! What changes the world, a file per service; `Actions` is the engine's port over all of them.

mod rds;
mod route53;
mod s3;
mod traffic;
