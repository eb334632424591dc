//! `/health`: whether the member serves clients.

use http::{Method, StatusCode};
use quorate_api::Error;
use quorate_api::etcdserverpb::AlarmType;

use super::{Answer, Query, error, only_get, with_type};
use crate::member::Member;
use crate::metrics;

/// `?serializable=true` asks about this member alone, `?exclude=NOSPACE` overlooks an alarm.
pub(super) async fn answer(member: &Member, method: &Method, query: Query<'_>) -> Answer {
    if method != Method::GET {
        return only_get();
    }
    let is_serializable = query.first("serializable") == Some("true");
    match check(member, &query.all("exclude"), is_serializable).await {
        Ok(()) => {
            metrics::health_success();
            with_type("text/plain; charset=utf-8", r#"{"health":"true","reason":""}"#)
        }
        Err(reason) => {
            metrics::health_failure();
            tracing::warn!(reason, "unhealthy");
            let body = format!(r#"{{"health":"false","reason":"{reason}"}}"#);
            error(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

/// The reason why the member is not healthy. It has no character that JSON escapes.
async fn check(member: &Member, excluded: &[&str], is_serializable: bool) -> Result<(), String> {
    let alarms = member.readable_store().await.alarms().get(0);
    for alarm in alarms {
        let kind = alarm.alarm();
        if excluded.contains(&kind.as_str_name()) {
            continue;
        }
        return Err(match kind {
            AlarmType::Nospace => "ALARM NOSPACE",
            AlarmType::Corrupt => "ALARM CORRUPT",
            AlarmType::None => "ALARM UNKNOWN",
        }
        .to_owned());
    }
    if is_serializable {
        return Ok(());
    }
    if member.leader().is_none() {
        return Err("RAFT NO LEADER".to_owned());
    }
    let confirmed = member.confirm().await;
    confirmed.map_err(|error: Error| format!("RANGE ERROR:{error}"))
}
