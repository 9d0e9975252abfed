//! Import probing: a transform that asks for anything that is not on the list is refused at load, with the name.

use lakemill_model::TransformError;

use crate::guests::options;
use crate::host;
use crate::raw::{Raw, component};

/// The interfaces of WASI 0.2, from the packages of wasi.dev.
const WASI: [&str; 34] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/run",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/timezone",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/incoming-handler",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    "wasi:config/store",
    "wasi:keyvalue/store",
];

/// What nobody has, and what looks like ours.
const INVENTED: [&str; 20] = [
    "lakemill:transform/state@0.1.0",
    "lakemill:transform/timers@0.1.0",
    "lakemill:transform/clock@0.1.0",
    "lakemill:transform/config@0.2.0",
    "lakemill:transform/config@1.0.0",
    "lakemill:transform/transformer@0.1.0",
    "lakemill:transforms/config@0.1.0",
    "lakemil:transform/config@0.1.0",
    "lakemill:host/config@0.1.0",
    "lakemill:transform/configs@0.1.0",
    "lakemill:transform/log2@0.1.0",
    "lakemill:state/types@0.1.0",
    "host:env/process@0.1.0",
    "host:memory/peek@1.0.0",
    "tenant:other/state@0.1.0",
    "kafka:client/producer@0.1.0",
    "delta:table/writer@0.1.0",
    "wasix:sockets/tcp@0.2.0",
    "component:threads/spawn@0.3.0",
    "a:b/c@0.0.1",
];

pub fn only_the_list() -> Result<(), String> {
    for version in ["0.2.0", "0.2.8"] {
        WASI.iter().try_for_each(|name| refused(&format!("{name}@{version}")))?;
    }
    INVENTED.iter().try_for_each(|name| refused(name))?;
    host::is_well()
}

/// As a module, and as the component that it says it is.
fn refused(name: &str) -> Result<(), String> {
    let module = Raw { import: Some(name.to_owned()), ..Raw::default() }.module();
    let component = (!name.starts_with("lakemill:transform/")).then(|| component(&module));
    for bytes in [Some(module), component].into_iter().flatten() {
        match host::engine().load(&bytes, options("{}")).map(|_| ()) {
            Err(TransformError::Refused(words)) if words.contains(name) => {}
            other => return Err(format!("{name}: {other:?}")),
        }
    }
    Ok(())
}
