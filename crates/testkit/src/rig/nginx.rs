//! nginx in front of one engine, as users have it.
//!
//! Taken where it is installed; else Debian's package is unpacked (not installed, nothing of it is started
//! by the system) into the rig's folder. It runs in a folder of its own on a free loopback port.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Unavailable;
use super::install::{once, private_apt, run};
use crate::raw::Raw;
use crate::wait;

/// Another process may take the free port between our look and nginx's bind.
const STARTS: usize = 5;

/// A running nginx that passes everything on to one server; ended when dropped.
#[derive(Debug)]
pub struct Nginx {
    program: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Nginx {
    /// Starts nginx in front of `upstream` (`host:port`), with these further directives for its server.
    pub fn start(upstream: SocketAddr, directives: &str) -> Result<Self, Unavailable> {
        let program = installed()?;
        let folder = tempfile::tempdir()
            .map_err(|error| Unavailable(format!("no folder for nginx: {error}")))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut nginx = Self { program, folder, address, child: None };
        for _ in 0..STARTS {
            nginx.address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|socket| socket.local_addr())
                .map_err(|error| Unavailable(format!("no free port: {error}")))?;
            nginx.place_config(upstream, directives);
            if nginx.launch() {
                return Ok(nginx);
            }
        }
        let log = fs::read_to_string(nginx.folder.path().join("error.log")).unwrap_or_default();
        Err(Unavailable(format!("nginx did not start in {STARTS} tries: {log}")))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Reads its config again: new workers, and the old ones close what is idle at once.
    pub fn reload(&self) {
        self.signal("-HUP");
    }

    /// The processes that serve.
    pub fn workers(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let listed = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
        let listed = listed.unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        // A killed master would leave its workers behind.
        self.signal("-TERM");
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Starts it again on its port.
    pub fn start_again(&mut self) {
        self.stop();
        assert!(self.launch(), "nginx did not start again");
    }

    fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "kill {name} did not work");
        }
    }

    fn launch(&mut self) -> bool {
        let folder = self.folder.path();
        let child = Command::new(&self.program)
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return false };
        let mut ended = false;
        wait::until("nginx to listen", || {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            ended || Raw::connect(self.address).is_ok()
        });
        self.child = (!ended).then_some(child);
        !ended
    }

    fn place_config(&self, upstream: SocketAddr, directives: &str) {
        let address = self.address;
        let text = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log error.log warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
             access_log off;\n\
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
             server {{ listen {address};\n{directives}\n\
             location / {{ proxy_pass http://{upstream}; }}\n}}\n}}\n"
        );
        // As root nginx would hand its workers to a user who may not read this folder.
        let root = Command::new("id").arg("-u").output();
        let root = root.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
        let text = if root { format!("user root; {text}") } else { text };
        let written = fs::write(self.folder.path().join("nginx.conf"), text);
        written.expect("nginx's config can be written");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The program: the machine's own, else Debian's, unpacked.
fn installed() -> Result<PathBuf, Unavailable> {
    let own = ["nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"].map(PathBuf::from);
    if let Some(found) = own.into_iter().find(|program| works(program)) {
        return Ok(found);
    }
    let unpacked = once("nginx-debian", |folder| {
        let apt = private_apt(folder, None)
            .map_err(|Unavailable(why)| Unavailable(format!("please install nginx ({why})")))?;
        run(apt().arg("update"))?;
        run(apt().arg("download").arg("nginx"))?;
        for entry in fs::read_dir(folder.join("debs")).into_iter().flatten().flatten() {
            run(Command::new("dpkg").arg("-x").arg(entry.path()).arg(folder.join("root")))?;
        }
        let program = folder.join("root/usr/sbin/nginx");
        if works(&program) {
            return Ok(());
        }
        Err(Unavailable("please install nginx: the unpacked one does not start".to_owned()))
    })?;
    Ok(unpacked.join("root/usr/sbin/nginx"))
}

fn works(program: &Path) -> bool {
    Command::new(program).arg("-v").output().is_ok_and(|output| output.status.success())
}
