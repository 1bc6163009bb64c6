//! Descriptions of open appenders.

use decisiongraph_records::{OpenWriter, SESSION_NAME};

/// Describes an appender: its process, its age, and its query where that is visible. For an append of this program the
/// name is enough.
pub fn appender(writer: &OpenWriter) -> String {
    let query = writer.query.as_deref().filter(|_| !is_ours(writer));
    format!("{}{}", who(writer), query.map(|query| format!(": {query}")).unwrap_or_default())
}

/// Describes an appender without its query.
pub fn who(writer: &OpenWriter) -> String {
    let process =
        writer.pid.map_or_else(|| format!("prepared transaction {}", writer.transaction), |pid| format!("pid {pid}"));
    let name = writer.application.as_deref().map(|name| match is_ours(writer) {
        true => format!("an append of `{name}`"),
        false => format!("program `{name}`"),
    });
    let told: Vec<String> = name.into_iter().chain(writer.role.as_deref().map(|role| format!("role {role}"))).collect();
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    let age = writer.age_seconds.map(|age| format!(", open for {age:.1} s")).unwrap_or_default();
    let waits = if writer.waits_for_standby { ", whose commit waits for a synchronous standby" } else { "" };
    format!("{process}{told}{age}{waits}")
}

/// True when the session is one of this program.
pub fn is_ours(writer: &OpenWriter) -> bool {
    writer.application.as_deref().is_some_and(|name| name.split(' ').next() == Some(SESSION_NAME))
}
