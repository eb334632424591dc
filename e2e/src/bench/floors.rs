//! What the machine can do: its disk, its loopback, and gRPC without a store behind it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Bench;
use super::requests::{MANY, MANY_CONNECTIONS};
use super::turn::us_per;
use crate::load::{Keep, Keys, Load, Outcome, Pace, Pool, Times, Until, drive, path, value};
use crate::process::member::free_address;
use crate::process::{cpu, guard};

const KEYS: Keys = Keys::new("/registry/pods/bench/", 32);
/// How long disk and loopback are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a write to the disk, and of the file that is written over.
const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = 4096;
/// How long the constant server may take to listen.
const READY_WAIT_MAX: Duration = Duration::from_secs(10);

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut sync = sync_times(bench)?;
    let mut loopback = loopback_times()?;
    bench.book.note_floor("sync.p50", sync.quantile_us(0.5));
    bench.book.note_floor("sync.p99", sync.quantile_us(0.99));
    bench.book.note_floor("loopback.p50", loopback.quantile_us(0.5));
    let server = Constant::start()?;
    let mut one = server.drive(bench, 1, 1)?;
    bench.book.note_floor("constant.one.p50", one.times.quantile_us(0.5));
    let before = cpu::of(server.process.id())?;
    let mut many = server.drive(bench, MANY, MANY_CONNECTIONS)?;
    let cpu = us_per(cpu::of(server.process.id())?.saturating_sub(before), many.calls);
    bench.book.note_floor("constant.many.rate", many.per_second());
    bench.book.note_floor("constant.many.p99", many.times.quantile_us(0.99));
    bench.book.note_floor("constant.many.cpu", cpu);
    let own = us_per(many.own_cpu, many.calls);
    bench.book.note_generator("constant answer, 256 clients", own);
    bench.say(&format!(
        "floors: sync {:.0} µs, loopback {:.0} µs, constant answer {:.0} µs, {:.0}/s, {cpu:.1} µs",
        sync.quantile_us(0.5),
        loopback.quantile_us(0.5),
        one.times.quantile_us(0.5),
        many.per_second()
    ));
    Ok(())
}

fn sync_times(bench: &Bench) -> anyhow::Result<Times> {
    let file = File::create(bench.options.folder.join("sync"))?;
    let block = [7; BLOCK_BYTES];
    for number in 0..BLOCKS {
        file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    let mut times = Times::default();
    let began = Instant::now();
    for number in (0..BLOCKS).cycle() {
        let before = Instant::now();
        file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
        file.sync_data()?;
        times.push(before.elapsed());
        if began.elapsed() > LOOK {
            break;
        }
    }
    Ok(times)
}

fn loopback_times() -> anyhow::Result<Times> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut times = Times::default();
    let began = Instant::now();
    let mut byte = [1];
    while began.elapsed() < LOOK {
        let before = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        times.push(before.elapsed());
    }
    drop(stream);
    echo.join().map_err(|_| anyhow::anyhow!("the echo died"))??;
    Ok(times)
}

/// The server with a constant answer, which ends when this is dropped.
struct Constant {
    process: Child,
    address: SocketAddr,
}

impl Constant {
    fn start() -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["constant-server", &address.to_string()]).stdin(Stdio::null());
        let process = guard::spawn(&mut command)?;
        let server = Self { process, address };
        let deadline = Instant::now() + READY_WAIT_MAX;
        while TcpStream::connect(address).is_err() {
            anyhow::ensure!(Instant::now() < deadline, "the constant server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn drive(&self, bench: &Bench, clients: u32, connections: usize) -> anyhow::Result<Outcome> {
        let mut pool = Pool::connect(&[self.address], connections)?;
        let value = value(9);
        let load = Load {
            path: path::PUT,
            pace: Pace::Closed { clients },
            until: Until::Time(bench.options.turn),
            keep: Keep::Nothing,
        };
        drive(&mut pool, load, |n| KEYS.put(n % 10_000, &value, 0))
    }
}

impl Drop for Constant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        guard::ended(self.process.id());
    }
}
