//! `manifold backup` and `manifold restore`: a store as one file, and a store of a file, without a running node.

use crate::cli::{BackupArgs, RestoreArgs};
use crate::config::DataConfig;
use crate::outcome::{Failure, Outcome, print};
use crate::outside::SystemClock;
use actors::part_of_tenant;
use anyhow::Context as _;
use proto::{Clock as _, TenantId};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use store::{BackupReader, BackupReport, Store};

/// Runs `manifold backup`.
pub(crate) fn backup(args: &BackupArgs) -> Outcome {
    let path = store_path(&args.data);
    if !path.exists() {
        return Err(Failure::failed(format!("there is no store in {}", args.data.display())));
    }
    if args.to.exists() {
        return Err(Failure::failed(format!("{} is there already", args.to.display())));
    }
    let store = Store::open(&path).context("cannot open the store")?;
    let partial = PathBuf::from(format!("{}.partial", args.to.display()));
    let made = write((&store, args.tenant.as_ref()), &partial, &args.to);
    let report = made.inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })?;
    print(&format!("{}: {}\n", args.to.display(), told(&report)))
}

fn write(
    (store, tenant): (&Store, Option<&TenantId>),
    partial: &Path,
    to: &Path,
) -> anyhow::Result<BackupReport> {
    let why = || format!("cannot write {}", to.display());
    let mut file = BufWriter::new(File::create(partial).with_context(why)?);
    let now_ms = SystemClock.now().0;
    let report = match tenant {
        None => store.backup(&mut file, now_ms)?,
        Some(tenant) => {
            let report = store.backup_part(&mut file, now_ms, &part_of_tenant(tenant))?;
            anyhow::ensure!(report.rows > 0, "there is nothing of the tenant {tenant}");
            report
        }
    };
    file.flush().with_context(why)?;
    file.get_ref().sync_all().with_context(why)?;
    fs::rename(partial, to).with_context(why)?;
    Ok(report)
}

/// Runs `manifold restore`.
pub(crate) fn restore(args: &RestoreArgs) -> Outcome {
    let why = || format!("cannot restore {}", args.file.display());
    let open = || File::open(&args.file).map(BufReader::new).with_context(why);
    let report = match &args.data {
        None => BackupReader::open(open()?).and_then(BackupReader::check).with_context(why)?,
        Some(data) => {
            let path = store_path(data);
            let of = BackupReader::open(open()?).with_context(why)?.header().part.clone();
            match of {
                Some(tenant) if path.exists() => {
                    restore_tenant(open()?, &tenant, &path).with_context(why)?
                }
                _ => Store::restore(open()?, &path).with_context(why)?,
            }
        }
    };
    let done = match &args.data {
        None => "is whole".to_owned(),
        Some(data) => format!("is in {}", data.display()),
    };
    print(&format!("{} {done}: {}\n", args.file.display(), told(&report)))
}

/// Puts a tenant in the place of what there is of it in a store.
fn restore_tenant(
    file: BufReader<File>,
    tenant: &str,
    path: &Path,
) -> anyhow::Result<BackupReport> {
    let tenant = TenantId::parse(tenant).context("it is a backup of no tenant")?;
    let store = Store::open(path).context("cannot open the store")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let report = store.restore_part(file, &part_of_tenant(&tenant)).await?;
        store.close().await?;
        Ok(report)
    })
}

fn store_path(data: &Path) -> PathBuf {
    DataConfig { dir: data.to_owned(), ..DataConfig::default() }.store_path()
}

fn told(report: &BackupReport) -> String {
    let BackupReport { rows, messages, bytes, unreadable, .. } = report;
    let told = format!("{rows} rows, {messages} queued messages, {bytes} bytes");
    match unreadable {
        0 => told,
        count => format!("{told}; {count} could not be read"),
    }
}
