//! The small tables as rows: for checkpoints, for snapshots and for hashes.
//!
//! ```text
//!   blob   version u8 │ table … │ crc32c u32 LE
//!   table  name │ rows u32 LE │ row …          bytes: length u32 LE, then the bytes
//!   row    key │ value
//! ```
//! Rows are those of etcd's bbolt buckets, so that a snapshot is made of them and installed from
//! them as they are. Besides, checkpoints have which key is attached to which lease, which etcd
//! reads from all values at start.
//!
//! The buckets `key` and `meta` are not here: records are in the log, and the rest of `meta`
//! belongs to whoever knows Raft's state.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use quorate_api::etcdserverpb::AlarmMember;
use quorate_api::leasepb;

use crate::alarms::Alarms;
use crate::cluster::{Cluster, Downgrade};
use crate::hash::hash_row;
use crate::lease::{self, Leases};
use crate::members::{self, Member, Members};

/// The version of the blob that this release writes.
const VERSION: u8 = 1;

/// The table of attached keys, which etcd does not have.
const ATTACHED: &str = "quorate.attached";

/// A table's rows by key.
pub type Rows = Vec<(Bytes, Bytes)>;

/// Why tables cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// The checksum does not match.
    #[error("the small tables are damaged")]
    Checksum,
    /// The blob ends too early or too late.
    #[error("the small tables are cut short")]
    Length,
    /// A later release wrote them.
    #[error("the small tables have format {0}, which is newer than this release")]
    Newer(u8),
    /// A row does not say what its table's rows say.
    #[error("table {table}: a row cannot be read")]
    Row {
        /// The table.
        table: String,
    },
    /// There is a table that this release does not know.
    #[error("table {0} is not known")]
    Unknown(String),
    /// Authentication is on, which this release cannot enforce.
    #[error(
        "authentication is enabled, which is not supported: nobody would be asked for a password; \
         make a backup after `etcdctl auth disable`"
    )]
    Auth,
}

/// The contents of etcd's three tables for authentication, kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthTables {
    auth: BTreeMap<Bytes, Bytes>,
    users: BTreeMap<Bytes, Bytes>,
    roles: BTreeMap<Bytes, Bytes>,
}

impl AuthTables {
    /// The revision of users and roles, which begins with 1.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let row = self.auth.get("authRevision".as_bytes());
        let number = row.and_then(|row| Some(u64::from_be_bytes(row.as_ref().try_into().ok()?)));
        number.unwrap_or(1)
    }
}

/// All small tables.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Leases with their keys.
    pub leases: Leases,
    /// Members.
    pub members: Members,
    /// Agreements.
    pub cluster: Cluster,
    /// Alarms.
    pub alarms: Alarms,
    /// Users and roles of an imported store.
    pub auth: AuthTables,
}

fn rows_of(rows: &BTreeMap<Bytes, Bytes>) -> Rows {
    rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl Tables {
    /// The contents of etcd's buckets by name, sorted, empty ones included; all but `key` and
    /// `meta`.
    #[must_use]
    pub fn buckets(&self) -> Vec<(&'static str, Rows)> {
        let mut buckets = self.buckets_without_leases();
        let leases = self.leases.iter().map(|(id, lease)| {
            (Bytes::copy_from_slice(&lease::row_key(id)), lease::row_value(id, lease).into())
        });
        // Ids are signed, their keys are not.
        let mut leases: Rows = leases.collect();
        leases.sort_unstable();
        buckets.push(("lease", leases));
        buckets.sort_unstable_by_key(|(name, _)| *name);
        buckets
    }

    fn buckets_without_leases(&self) -> Vec<(&'static str, Rows)> {
        let alarms = self.alarms.rows().into_iter().map(|key| (key.into(), Bytes::new()));
        let mut cluster = Rows::new();
        if let Some(version) = &self.cluster.version {
            cluster.push((Bytes::from_static(b"clusterVersion"), version.clone().into()));
        }
        if let Some(downgrade) = &self.cluster.downgrade {
            let json = serde_json::to_vec(downgrade).expect("a string and a boolean");
            cluster.push((Bytes::from_static(b"downgrade"), json.into()));
        }
        let mut members: Rows = self
            .members
            .iter()
            .map(|member| (members::row_key(member.id).into(), member.to_json().into()))
            .collect();
        members.sort_unstable();
        let mut removed: Rows = self
            .members
            .removed()
            .map(|id| (members::row_key(id).into(), Bytes::from_static(b"removed")))
            .collect();
        removed.sort_unstable();
        vec![
            ("alarm", alarms.collect()),
            ("auth", rows_of(&self.auth.auth)),
            ("authRoles", rows_of(&self.auth.roles)),
            ("authUsers", rows_of(&self.auth.users)),
            ("cluster", cluster),
            ("members", members),
            ("members_removed", removed),
        ]
    }

    /// What the small tables add to the state hash.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let rows = self.buckets_without_leases();
        let rows = rows
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(|(key, value)| hash_row(table, key, value)));
        rows.fold(self.leases.state_hash(), u64::wrapping_add)
    }

    /// Put a row of one of etcd's buckets in, as a snapshot has it.
    ///
    /// # Errors
    /// If the bucket is not one of the small tables', or the row does not belong there.
    pub fn insert_row(&mut self, table: &str, key: Bytes, value: Bytes) -> Result<(), TablesError> {
        let bad = || TablesError::Row { table: table.to_owned() };
        match table {
            "lease" => {
                let lease = leasepb::Lease::decode(value).map_err(|_| bad())?;
                if *key != lease::row_key(lease.id) {
                    return Err(bad());
                }
                self.leases.insert(lease.id, lease.ttl, lease.remaining_ttl);
            }
            "alarm" => {
                let alarm = AlarmMember::decode(key).map_err(|_| bad())?;
                self.alarms.activate(alarm.alarm, alarm.member_id);
            }
            "cluster" => match key.as_ref() {
                b"clusterVersion" => {
                    let version = String::from_utf8(value.into()).map_err(|_| bad())?;
                    self.cluster.version = Some(version);
                }
                b"downgrade" => {
                    let downgrade: Downgrade = serde_json::from_slice(&value).map_err(|_| bad())?;
                    self.cluster.downgrade = Some(downgrade);
                }
                _ => return Err(bad()),
            },
            "members" => {
                let member = Member::from_json(&value).map_err(|_| bad())?;
                if *key != *members::row_key(member.id).as_bytes() {
                    return Err(bad());
                }
                self.members.insert(member);
            }
            "members_removed" => {
                let id = std::str::from_utf8(&key).map_err(|_| bad())?;
                self.members.insert_removed(u64::from_str_radix(id, 16).map_err(|_| bad())?);
            }
            "auth" => {
                if *key == *b"authEnabled" && *value == *b"\x01" {
                    return Err(TablesError::Auth);
                }
                self.auth.auth.insert(key, value);
            }
            "authUsers" => {
                self.auth.users.insert(key, value);
            }
            "authRoles" => {
                self.auth.roles.insert(key, value);
            }
            ATTACHED => {
                let mut id = value.as_ref();
                let id = id.try_get_i64().map_err(|_| bad())?;
                self.leases.attach(&key, id);
            }
            _ => return Err(TablesError::Unknown(table.to_owned())),
        }
        Ok(())
    }

    /// Attach a key to a lease, as its record says.
    pub fn attach(&mut self, key: &Bytes, lease: i64) {
        self.leases.attach(key, lease);
    }

    /// The blob of a checkpoint.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut tables = self.buckets();
        let attached = self.leases.attachments();
        let attached = attached.map(|(key, id)| (key.clone(), id.to_be_bytes().to_vec().into()));
        tables.push((ATTACHED, attached.collect()));
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        for (name, rows) in &tables {
            put_bytes(&mut out, name.as_bytes());
            out.put_u32_le(length(rows.len()));
            for (key, value) in rows {
                put_bytes(&mut out, key);
                put_bytes(&mut out, value);
            }
        }
        let checksum = crc32c::crc32c(&out);
        out.put_u32_le(checksum);
        out.freeze()
    }

    /// Read a blob back.
    ///
    /// # Errors
    /// If it is damaged, or not of this release or one before.
    pub fn decode(blob: &Bytes) -> Result<Self, TablesError> {
        let (body, checksum) = blob.split_last_chunk::<4>().ok_or(TablesError::Length)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err(TablesError::Checksum);
        }
        let mut input = blob.slice(..body.len());
        let version = input.try_get_u8().map_err(|_| TablesError::Length)?;
        if version > VERSION {
            return Err(TablesError::Newer(version));
        }
        let mut tables = Self::default();
        while !input.is_empty() {
            let name = take_bytes(&mut input)?;
            let name = std::str::from_utf8(&name).map_err(|_| TablesError::Length)?;
            let rows = input.try_get_u32_le().map_err(|_| TablesError::Length)?;
            for _ in 0..rows {
                let key = take_bytes(&mut input)?;
                let value = take_bytes(&mut input)?;
                tables.insert_row(name, key, value)?;
            }
        }
        Ok(tables)
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("rows are smaller than requests, tables than memory")
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(length(bytes.len()));
    out.put_slice(bytes);
}

fn take_bytes(input: &mut Bytes) -> Result<Bytes, TablesError> {
    let length = input.try_get_u32_le().map_err(|_| TablesError::Length)? as usize;
    if length > input.len() {
        return Err(TablesError::Length);
    }
    Ok(input.split_to(length))
}
