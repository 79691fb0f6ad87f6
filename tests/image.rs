//! The image: its processes run as a user that may do nothing, on a root that cannot be written, with what
//! `deploy/image/rootfs.sh` puts there and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemill_common::ports::free_port;
use tidemill_tests::jobs::numbers;
use tidemill_tests::services::report_skipped;

/// The user of the image.
const USER: u32 = 65_532;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A private view of file systems, with the image's as the root: read-only but for a volume and `/tmp`.
const ENTER: &str = r#"
set -eu
root=$1; volume=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind "$volume" "$root/var/lib/tidemill"
mount -t tmpfs -o size=16m,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o size=64k,mode=755 tmpfs "$root/dev"
for device in null zero urandom random; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec=65532:65532 "$root" /usr/local/bin/tidemill "$@"
"#;

/// The root file system, and what its processes share.
struct Image {
    root: TempDir,
    volume: TempDir,
}

impl Image {
    /// Makes the root file system. `None`, with the reason printed, where that needs what is not here.
    fn build() -> Option<Self> {
        let allowed =
            Command::new("unshare").args(["--mount", "--pid", "--fork", "mount", "--make-rprivate", "/"]).output();
        if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
            let required = std::env::var("TIDEMILL_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
            let reason = "another root needs to be root, and unshare (util-linux)";
            assert!(!required, "{reason}: {allowed:?}");
            report_skipped(reason);
            return None;
        }
        let image = Self { root: tempfile::tempdir().unwrap(), volume: tempfile::tempdir().unwrap() };
        let script = repository().join("deploy/image/rootfs.sh");
        let made =
            Command::new("sh").arg(script).arg(tidemill_tests::binary().unwrap()).arg(image.root()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::os::unix::fs::chown(image.volume.path(), Some(USER), Some(USER)).unwrap();
        Some(image)
    }

    fn root(&self) -> PathBuf {
        self.root.path().join("root")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "image"]);
        command.arg(self.root()).arg(self.volume.path());
        command
    }

    /// What a command prints on its outputs.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command().args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn start(&self, log: &str, arguments: &[&str]) -> Process {
        let log = std::fs::File::create(self.volume.path().join(log)).unwrap();
        Process(self.command().args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn logs(&self) -> String {
        let log = |name| std::fs::read_to_string(self.volume.path().join(name)).unwrap_or_default();
        format!("{}\n{}", log("jobmanager.log"), log("taskmanager.log"))
    }
}

/// Ended when dropped, with all that it has started.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // The image's process does not end with `unshare`: whoever changes its user is not told.
        let id = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn repository() -> &'static Path {
    tidemill_tests::directory().parent().unwrap()
}

/// The status of the image's processes with an argument, as the kernel tells.
fn statuses(argument: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let ours = processes.filter(|path| {
        let command = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        command.starts_with("/usr/local/bin/tidemill\0") && command.split('\0').any(|is| is == argument)
    });
    ours.map(|path| std::fs::read_to_string(path.join("status")).unwrap_or_default()).collect()
}

#[test]
fn its_processes_run_as_nobody_on_a_root_that_cannot_be_written() {
    let Some(image) = Image::build() else { return };
    let (ran, text) = image.run(&["--version"]);
    assert!(ran && text.starts_with("tidemill "), "{text}");

    let port = free_port().unwrap().to_string();
    let manager = ["--jobmanager-rpc-port", &port];
    let data = ["--jobmanager-data-dir", "/var/lib/tidemill/data"];
    let local = ["--io-tmp-dirs", "/var/lib/tidemill"];
    let _manager = image.start("jobmanager.log", &[&["jobmanager"], &manager[..], &data[..]].concat());
    let slots = ["--taskmanager-number-of-task-slots", "2"];
    let _worker = image.start("taskmanager.log", &[&["taskmanager"], &manager[..], &local[..], &slots[..]].concat());

    let script = "SET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000');
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/var/lib/tidemill/written', 'format' = 'json');
INSERT INTO written SELECT n FROM numbers;";
    std::fs::write(image.volume.path().join("job.sql"), script).unwrap();
    let declare = ["--name", "numbers", "--state-savepoints-dir", "/var/lib/tidemill/savepoints", "--wait", "30 s"];
    let (applied, text) = image.run(&[&["apply", "/var/lib/tidemill/job.sql"], &declare[..], &manager[..]].concat());
    assert!(applied && text.contains("was started"), "{text}\n{}", image.logs());

    let running = statuses(&port);
    assert_eq!(running.len(), 2, "{running:?}");
    for status in running {
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert_eq!(line("Uid:"), format!("Uid:\t{USER}\t{USER}\t{USER}\t{USER}"));
        assert_eq!(line("CapEff:"), "CapEff:\t0000000000000000");
        assert_eq!(line("NoNewPrivs:"), "NoNewPrivs:\t1");
    }
    let expected: BTreeMap<u64, usize> = (1..=1000).map(|n| (n, 1)).collect();
    let begun = Instant::now();
    while numbers(&image.volume.path().join("written")) != expected {
        assert!(begun.elapsed() < TIMEOUT, "{}", image.logs());
        std::thread::sleep(Duration::from_millis(100));
    }

    // Where nothing is mounted nothing can be written.
    let (kept, text) =
        image.run(&["jobmanager", "--jobmanager-rpc-port", "0", "--jobmanager-data-dir", "/usr/local/data"]);
    assert!(!kept && text.contains("Read-only file system"), "{text}");
}

#[test]
fn it_is_packed_without_a_container_engine() {
    let Some(image) = Image::build() else { return };
    let place = tempfile::tempdir().unwrap();
    let pack = |name: &str| {
        let archive = place.path().join(name);
        let script = repository().join("deploy/image/oci.sh");
        let packed = Command::new("sh").arg(script).arg(image.root()).arg("0.0.1").arg(&archive).output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        archive
    };
    let archive = pack("image.tar");
    assert!(std::fs::read(&archive).unwrap() == std::fs::read(pack("again.tar")).unwrap(), "the same twice");

    let unpacked = place.path().join("image");
    std::fs::create_dir(&unpacked).unwrap();
    assert!(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked).status().unwrap().success());
    let digest = |path: &Path| {
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    // What is named is there, whole, under its digest.
    let named = |descriptor: &serde_json::Value| {
        let sum = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        let path = unpacked.join("blobs/sha256").join(&sum);
        assert_eq!(digest(&path), sum);
        assert_eq!(descriptor["size"].as_u64(), Some(path.metadata().unwrap().len()));
        path
    };
    let json = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let index = json(unpacked.join("index.json"));
    let manifest = json(named(&index["manifests"][0]));
    let config = json(named(&manifest["config"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    let layer = named(&manifest["layers"][0]);
    let files = place.path().join("layer");
    std::fs::write(&files, Command::new("gunzip").arg("-c").arg(&layer).output().unwrap().stdout).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(&files)));
    let listed = Command::new("tar").arg("-tvf").arg(&files).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let owner =
        |path: &str| listed.lines().find(|line| line.ends_with(path)).unwrap().split_whitespace().nth(1).unwrap();
    assert_eq!((owner("./usr/local/bin/tidemill"), owner("./var/lib/tidemill/")), ("0/0", "65532/65532"));
    // No shell, and nothing that another user's rights come with.
    assert!(listed.lines().all(|line| !line.contains("/bin/sh") && !line[..10].contains('s')), "{listed}");
}

/// The words behind an instruction of a Dockerfile, with lines that go on put together.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let whole = dockerfile.replace("\\\n", " ");
    let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

#[test]
fn the_dockerfile_makes_the_same_image() {
    let text = std::fs::read_to_string(repository().join("deploy/docker/Dockerfile")).unwrap();
    let instructions = instructions(&text);
    let of = |word: &str| {
        instructions.iter().filter(|(is, _)| is == word).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>()
    };
    let toolchain = std::fs::read_to_string(repository().join("rust-toolchain.toml")).unwrap();
    let version = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap().trim_end_matches('"');
    let minor = version.rsplit_once('.').unwrap().0;
    assert_eq!(of("FROM"), [&format!("rust:{minor}-bookworm AS build"), "scratch"]);
    assert_eq!(of("USER"), [format!("{USER}:{USER}")]);
    assert_eq!(of("ENTRYPOINT"), ["[\"/usr/local/bin/tidemill\"]"]);
    assert_eq!(of("COPY"), [". .", "--from=build /rootfs /"]);
    assert!(of("RUN").iter().any(|run| run.ends_with("deploy/image/rootfs.sh target/release/tidemill /rootfs")));
    // What deps.sh installs for a build is there.
    let deps = std::fs::read_to_string(repository().join("scripts/deps.sh")).unwrap();
    let only_for_tests = ["ccache", "procps"];
    for package in deps.lines().filter_map(|line| line.strip_prefix("need ")).filter_map(|rest| rest.split(' ').next())
    {
        let installed = of("RUN").iter().any(|run| run.split(' ').any(|word| word == package));
        assert!(installed || only_for_tests.contains(&package), "{package}");
    }
}
