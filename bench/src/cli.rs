//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{codec, floor, process, run, sessions};

/// What a connection and a message cost the gateway, beside its peers and the kernel's floor.
#[derive(Parser)]
#[command(name = "bench/run", version)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A few loads, briefly: about three minutes
    #[arg(long)]
    pub quick: bool,
    /// Only these loads, by family such as rtt, or by name such as "rtt 100"
    #[arg(long, value_name = "LOAD", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these servers; the gateway is always there
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Interleaved runs
    #[arg(long, value_name = "N")]
    pub runs: Option<usize>,
    /// Where a folder named by the date goes, with the tables, every sample and the charts; loads measured before on that day and not now are kept
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub out: PathBuf,
    /// The gateway's program
    #[arg(long, value_name = "FILE", default_value = "target/release/ws-gateway")]
    pub gateway: PathBuf,
    /// Another build of the gateway, measured in turn with it as the peer ws-gateway-before
    #[arg(long, value_name = "FILE")]
    pub before: Option<PathBuf>,
    /// Where peers are installed [default: ~/.cache/ws-operator/bench]
    #[arg(long, value_name = "DIR", env = "WS_CACHE")]
    pub cache: Option<PathBuf>,
    /// Cores of the server and of the load
    #[arg(
        long,
        value_name = "SERVER,LOAD",
        default_value = "0,1",
        value_delimiter = ',',
        num_args = 2
    )]
    pub cores: Vec<usize>,
    /// Seconds between a large message of each connection and the second look at memory. 0: no such look
    #[arg(long, value_name = "SECONDS")]
    pub rest: Option<u64>,
}

#[derive(Subcommand)]
enum Inner {
    /// Runs a program on one core
    #[command(hide = true)]
    Pinned {
        core: usize,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Serves as the floor of a fan-out
    #[command(hide = true)]
    Floor { port: u16 },
    /// Frames without sockets: prints what they took
    #[command(hide = true)]
    Codec { peer: String },
    /// The gateway's sessions in memory: prints what they took
    #[command(hide = true)]
    Sessions { count: usize },
}

pub(crate) fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.inner {
        Some(Inner::Pinned { core, command }) => process::become_pinned(core, &command),
        Some(Inner::Floor { port }) => floor::serve(port),
        Some(Inner::Codec { peer }) => codec::main(&peer),
        Some(Inner::Sessions { count }) => sessions::main(count),
        None => run::main(&cli.run),
    }
}
