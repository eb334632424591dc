//! Replicated requests: an encoded request wrapped as one field of an `InternalRaftRequest`.
//!
//! ```text
//!   entry data =  tag(kind) len request        kind < 100: put, txn, …
//!                 tag(100)  len header         id, user name, auth revision
//!                 tag(kind) len request        kind > 100: auth, membership, …
//! ```
//!
//! A client's request arrives encoded and is logged as it arrived: it is never decoded and encoded
//! again on its way, and [`split`] hands it back as a slice of the entry. Fields stand in
//! ascending order, as etcd writes them.
//!
//! It never looks into the request: an entry can be wrapped that does not decode, so callers decode
//! a request once before they propose it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost::encoding::{encoded_len_varint, key_len};

use crate::etcdserverpb::{InternalRaftRequest, RequestHeader};

/// The field of the header.
const HEADER_FIELD: u32 = 100;

/// The field that held the id before there was a header; etcd still reads it.
const ID_FIELD: u32 = 1;

/// Why an entry is not a replicated request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The bytes are not what they should be.
    #[error("malformed replicated request: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A field's length runs past the end of the entry.
    #[error("a field of the replicated request runs past its end")]
    Truncated,
    /// A group, a kind of field that etcd's messages do not have.
    #[error("the replicated request has a group")]
    Group,
    /// More than one request in one entry.
    #[error("the replicated request has fields {first} and {second}, and only one may be set")]
    Ambiguous {
        /// The field that came first.
        first: u32,
        /// The field that came after it.
        second: u32,
    },
}

/// Which request an entry carries; the discriminant is its field in `InternalRaftRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum RequestKind {
    /// `RangeRequest`.
    Range = 3,
    /// `PutRequest`.
    Put = 4,
    /// `DeleteRangeRequest`.
    DeleteRange = 5,
    /// `TxnRequest`.
    Txn = 6,
    /// `CompactionRequest`.
    Compaction = 7,
    /// `LeaseGrantRequest`.
    LeaseGrant = 8,
    /// `LeaseRevokeRequest`.
    LeaseRevoke = 9,
    /// `AlarmRequest`.
    Alarm = 10,
    /// `LeaseCheckpointRequest`.
    LeaseCheckpoint = 11,
    /// `AuthEnableRequest`.
    AuthEnable = 1000,
    /// `AuthDisableRequest`.
    AuthDisable = 1011,
    /// `InternalAuthenticateRequest`.
    Authenticate = 1012,
    /// `AuthStatusRequest`.
    AuthStatus = 1013,
    /// `AuthUserAddRequest`.
    AuthUserAdd = 1100,
    /// `AuthUserDeleteRequest`.
    AuthUserDelete = 1101,
    /// `AuthUserGetRequest`.
    AuthUserGet = 1102,
    /// `AuthUserChangePasswordRequest`.
    AuthUserChangePassword = 1103,
    /// `AuthUserGrantRoleRequest`.
    AuthUserGrantRole = 1104,
    /// `AuthUserRevokeRoleRequest`.
    AuthUserRevokeRole = 1105,
    /// `AuthUserListRequest`.
    AuthUserList = 1106,
    /// `AuthRoleListRequest`.
    AuthRoleList = 1107,
    /// `AuthRoleAddRequest`.
    AuthRoleAdd = 1200,
    /// `AuthRoleDeleteRequest`.
    AuthRoleDelete = 1201,
    /// `AuthRoleGetRequest`.
    AuthRoleGet = 1202,
    /// `AuthRoleGrantPermissionRequest`.
    AuthRoleGrantPermission = 1203,
    /// `AuthRoleRevokePermissionRequest`.
    AuthRoleRevokePermission = 1204,
    /// `membershippb.ClusterVersionSetRequest`.
    ClusterVersionSet = 1300,
    /// `membershippb.ClusterMemberAttrSetRequest`.
    ClusterMemberAttrSet = 1301,
    /// `membershippb.DowngradeInfoSetRequest`.
    DowngradeInfoSet = 1302,
    /// `DowngradeVersionTestRequest`.
    DowngradeVersionTest = 9900,
}

impl RequestKind {
    /// Every kind, by ascending field.
    pub const ALL: [Self; 30] = [
        Self::Range,
        Self::Put,
        Self::DeleteRange,
        Self::Txn,
        Self::Compaction,
        Self::LeaseGrant,
        Self::LeaseRevoke,
        Self::Alarm,
        Self::LeaseCheckpoint,
        Self::AuthEnable,
        Self::AuthDisable,
        Self::Authenticate,
        Self::AuthStatus,
        Self::AuthUserAdd,
        Self::AuthUserDelete,
        Self::AuthUserGet,
        Self::AuthUserChangePassword,
        Self::AuthUserGrantRole,
        Self::AuthUserRevokeRole,
        Self::AuthUserList,
        Self::AuthRoleList,
        Self::AuthRoleAdd,
        Self::AuthRoleDelete,
        Self::AuthRoleGet,
        Self::AuthRoleGrantPermission,
        Self::AuthRoleRevokePermission,
        Self::ClusterVersionSet,
        Self::ClusterMemberAttrSet,
        Self::DowngradeInfoSet,
        Self::DowngradeVersionTest,
    ];

    /// The field in `InternalRaftRequest`.
    pub const fn field(self) -> u32 {
        self as u32
    }

    /// The kind with this field.
    pub fn from_field(field: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.field() == field)
    }
}

/// A replicated request, taken apart but for the request itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrapped {
    /// Who asks. An entry of an old log may carry only an id, which is then in `header.id`.
    pub header: RequestHeader,
    /// What is asked. `None` for a request that this version does not know, and for none.
    pub request: Option<(RequestKind, Bytes)>,
}

/// Wraps an encoded request with its header as the data of an entry. One allocation, one copy.
pub fn wrap(header: &RequestHeader, kind: RequestKind, request: &[u8]) -> Bytes {
    wrap_with(header, kind, request.len(), |entry| entry.put_slice(request))
}

/// [`wrap`] for a request that is not encoded yet: it is encoded where it will stand.
pub fn wrap_message(header: &RequestHeader, kind: RequestKind, request: &impl Message) -> Bytes {
    wrap_with(header, kind, request.encoded_len(), |entry| request.encode_raw(entry))
}

fn wrap_with(
    header: &RequestHeader,
    kind: RequestKind,
    request_bytes: usize,
    encode_request: impl FnOnce(&mut BytesMut),
) -> Bytes {
    let header_bytes = header.encoded_len();
    let mut entry = BytesMut::with_capacity(
        field_len(kind.field(), request_bytes) + field_len(HEADER_FIELD, header_bytes),
    );
    let put_header = |entry: &mut BytesMut| {
        encode_key(HEADER_FIELD, WireType::LengthDelimited, entry);
        encode_varint(header_bytes as u64, entry);
        header.encode_raw(entry);
    };
    if kind.field() > HEADER_FIELD {
        put_header(&mut entry);
    }
    encode_key(kind.field(), WireType::LengthDelimited, &mut entry);
    encode_varint(request_bytes as u64, &mut entry);
    encode_request(&mut entry);
    if kind.field() < HEADER_FIELD {
        put_header(&mut entry);
    }
    entry.freeze()
}

/// Takes an entry's data apart. The request is a slice of the entry, not yet decoded.
///
/// Where a field comes twice, protobuf says to merge the two. No member writes that, so two
/// requests are an error rather than a merge, whether of one kind or of two. Unknown fields are
/// skipped.
pub fn split(mut entry: Bytes) -> Result<Wrapped, RequestError> {
    let mut header = None;
    let mut id = 0;
    let mut request: Option<(RequestKind, Bytes)> = None;
    while !entry.is_empty() {
        let (field, wire_type) = decode_key(&mut entry)?;
        match (field, wire_type) {
            (ID_FIELD, WireType::Varint) => id = decode_varint(&mut entry)?,
            (HEADER_FIELD, WireType::LengthDelimited) => {
                let bytes = take_delimited(&mut entry)?;
                header = Some(RequestHeader::decode(bytes)?);
            }
            (_, WireType::LengthDelimited) => {
                let bytes = take_delimited(&mut entry)?;
                let Some(kind) = RequestKind::from_field(field) else { continue };
                if let Some((first, _)) = request {
                    return Err(RequestError::Ambiguous { first: first.field(), second: field });
                }
                request = Some((kind, bytes));
            }
            (_, WireType::Varint) => {
                decode_varint(&mut entry)?;
            }
            (_, WireType::SixtyFourBit) => take(&mut entry, 8).map(drop)?,
            (_, WireType::ThirtyTwoBit) => take(&mut entry, 4).map(drop)?,
            (_, WireType::StartGroup | WireType::EndGroup) => return Err(RequestError::Group),
        }
    }
    let header = header.unwrap_or(RequestHeader { id, ..RequestHeader::default() });
    Ok(Wrapped { header, request })
}

/// The kind of an entry whose request comes first, as [`wrap`] writes the kinds of keys and leases,
/// from its first bytes alone. `None` for any other.
pub fn leading_kind(mut entry: &[u8]) -> Option<RequestKind> {
    match decode_key(&mut entry) {
        Ok((field, WireType::LengthDelimited)) if field < HEADER_FIELD => {
            RequestKind::from_field(field)
        }
        _ => None,
    }
}

/// The whole request, decoded. `bytes` fields are slices of the entry.
pub fn decode(entry: Bytes) -> Result<InternalRaftRequest, RequestError> {
    Ok(InternalRaftRequest::decode(entry)?)
}

/// The bytes of a length-delimited field.
fn field_len(field: u32, bytes: usize) -> usize {
    key_len(field) + encoded_len_varint(bytes as u64) + bytes
}

/// The next length-delimited field's content.
fn take_delimited(entry: &mut Bytes) -> Result<Bytes, RequestError> {
    let length = decode_varint(entry)?;
    take(entry, usize::try_from(length).map_err(|_| RequestError::Truncated)?)
}

/// The next bytes.
fn take(entry: &mut Bytes, length: usize) -> Result<Bytes, RequestError> {
    if length > entry.len() {
        return Err(RequestError::Truncated);
    }
    Ok(entry.split_to(length))
}
