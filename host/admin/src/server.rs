//! The server: a thread of its own with a small runtime, so that it answers while the pipeline is busy or stuck.

use std::convert::identity;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use lakemill_pipeline::tap::Point;
use lakemill_pipeline::{Circuit, Control, Pipeline, Progress, Reload, Reloaded, RolledBack, Summary};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use crate::network::without_rows;
use crate::{metrics, stream};

/// What is looked at, and commanded.
#[derive(Clone)]
pub struct Target {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Where it is.
    pub progress: Arc<Progress>,
    /// What it is asked for.
    pub control: &'static Control,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    socket: Option<PathBuf>,
    address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Starts to answer, at a socket in `folder` and at `listen`. A socket that cannot be made is a warning: the pipeline runs
    /// without commands.
    ///
    /// # Errors
    /// If nothing can be bound to `listen`, or the system gives no thread.
    pub fn start(target: Target, folder: &Path, listen: Option<SocketAddr>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _inside = runtime.enter();
        let socket = crate::client::socket_of(folder, std::process::id());
        let unix = bind(&socket)
            .inspect_err(|error| {
                let socket = socket.display();
                tracing::warn!(%error, %socket, "no socket for commands: `lakemill status` and the like cannot reach this process");
            })
            .ok();
        let tcp = listen.map(|at| {
            std::net::TcpListener::bind(at).and_then(|tcp| {
                tcp.set_nonblocking(true)?;
                TcpListener::from_std(tcp)
            })
        });
        let tcp = tcp.transpose()?;
        let address = tcp.as_ref().map(TcpListener::local_addr).transpose()?;
        if let Some(address) = address {
            tracing::info!(%address, "metrics and health");
        }
        let (stop, stopped) = oneshot::channel();
        let bound = unix.is_some();
        let work = move || {
            let commands = views(identity).merge(commands()).with_state(target.clone());
            let views = views(without_rows).with_state(target);
            runtime.block_on(async {
                let socket = async {
                    match unix {
                        Some(unix) => drop(axum::serve(unix, commands).await),
                        None => std::future::pending().await,
                    }
                };
                let network = async {
                    match tcp {
                        Some(tcp) => drop(axum::serve(tcp, views).await),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = socket => {}
                    () = network => {}
                    // Dropped or told: both mean the end.
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("lakemill-admin".into()).spawn(work)?;
        Ok(Self { socket: bound.then_some(socket), address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens on TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was shown already.
            drop(thread.join());
        }
        if let Some(socket) = &self.socket {
            // Whoever finds it later sees that nobody answers.
            std::fs::remove_file(socket).ok();
        }
    }
}

/// A socket for the user who runs the process, and for nobody else.
fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A process may have our number: one that is gone, or one in another container that shares the state folder.
    if crate::client::connect(socket)?.is_some() {
        return Err(std::io::Error::new(
            ErrorKind::AddrInUse,
            "a process of the same number, in another container, listens there",
        ));
    }
    let listener = std::os::unix::net::UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// What may be looked at, as `show` lets it be seen.
fn views(show: fn(Summary) -> Summary) -> Router<Target> {
    let ready = async move |State(target): State<Target>| ready(show(target.progress.summary()));
    let status =
        async move |State(target): State<Target>| Json(show(target.pipeline.status_and_files(&target.progress)));
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/v1/status", get(status))
}

fn commands() -> Router<Target> {
    Router::new()
        .route("/v1/tap", get(tap))
        .route("/v1/resume", post(resume))
        .route("/v1/reload", post(reload))
        .route("/v1/promote", post(promote))
        .route("/v1/rollback", post(roll_back))
}

fn ready(summary: Summary) -> Response {
    match summary.trouble.filter(|_| summary.parked || summary.circuit != Circuit::Closed) {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble + "\n").into_response(),
    }
}

async fn scrape(State(target): State<Target>) -> Response {
    match metrics::text(&target.progress.summary(), target.pipeline.guest_memory_bytes()) {
        Ok(text) => ([("content-type", metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Resume {
    over_budget: bool,
}

async fn resume(State(target): State<Target>, Json(wish): Json<Resume>) -> Response {
    let parked = target.progress.summary().parked;
    target.control.resume(wish.over_budget);
    Json(json!({ "was_parked": parked })).into_response()
}

async fn reload(State(target): State<Target>) -> Response {
    let work = move || target.pipeline.reload(true, &target.progress, target.control);
    let Reload { outcome, left } = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(reload)) => reload,
        Ok(Err(error)) => return refused(error.to_string()),
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    };
    let mut answer = match outcome {
        Reloaded::Unchanged => json!({ "swapped": false }),
        Reloaded::Swapped { digests, took } => {
            json!({ "swapped": true, "digests": digests, "took_ms": took.as_secs_f64() * 1e3 })
        }
        Reloaded::OnTrial { digests } => json!({ "swapped": false, "on_trial": true, "digests": digests }),
    };
    answer["left"] = json!(left);
    Json(answer).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tap {
    point: String,
}

async fn tap(State(target): State<Target>, Query(asked): Query<Tap>) -> Response {
    let Some(point) = Point::ALL.into_iter().find(|point| point.name() == asked.point) else {
        let known = Point::ALL.map(Point::name).join(", ");
        return refused(format!("there is no point `{}`; there are {known}", asked.point));
    };
    stream::rows(target.pipeline.tap(point), target.control).into_response()
}

async fn promote(State(target): State<Target>) -> Response {
    let promote = |target: &Target| {
        let digests = target.pipeline.promote(&target.progress, target.control)?;
        Some(json!({ "digests": digests }))
    };
    changed(target, promote, "there is nothing on trial").await
}

async fn roll_back(State(target): State<Target>) -> Response {
    let none = "there is nothing on trial, and nothing that ran before";
    let roll_back = |target: &Target| {
        let RolledBack { gone, running, was_on_trial } = target.pipeline.roll_back(&target.progress)?;
        Some(json!({ "digests": gone, "running": running, "was_on_trial": was_on_trial }))
    };
    changed(target, roll_back, none).await
}

async fn changed(target: Target, change: fn(&Target) -> Option<Value>, none: &'static str) -> Response {
    match tokio::task::spawn_blocking(move || change(&target)).await {
        Ok(Some(answer)) => Json(answer).into_response(),
        Ok(None) => refused(none.into()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn refused(why: String) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": why }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_somebody_listens_at_is_theirs() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let _inside = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control.1.sock");
        let theirs = std::os::unix::net::UnixListener::bind(&socket).expect("binds");
        assert_eq!(bind(&socket).expect_err("theirs").kind(), ErrorKind::AddrInUse);
        assert!(socket.exists());
        drop(theirs);
        bind(&socket).expect("nobody is there any more");
    }
}
