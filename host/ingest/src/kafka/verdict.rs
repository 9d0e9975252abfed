//! What an error of the client means for the source. Pure.

use rdkafka::error::RDKafkaErrorCode as Code;

/// What to do about an error that the client reports while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client gets over it by itself: wait.
    Passing,
    /// The next offset to read is not there: retention overtook us, or the log was cut.
    OffsetGone,
    /// The topic or partition is not there.
    TopicGone,
    /// The credentials are wrong, or TLS fails.
    Credentials,
    /// This user may not read.
    Forbidden,
    /// The user may not use the group.
    GroupForbidden,
    /// Records are damaged.
    Corrupt,
    /// The client is of no use any more.
    Fatal,
}

/// Sorts an error code: librdkafka's rdkafka.h names them, Kafka's protocol documents the brokers' ones.
pub(super) fn verdict(code: Code) -> Verdict {
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation | Code::NoOffset => Verdict::OffsetGone,
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::UnknownTopicId => Verdict::TopicGone,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Verdict::Credentials,
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Verdict::Forbidden,
        Code::GroupAuthorizationFailed => Verdict::GroupForbidden,
        Code::BadMessage
        | Code::BadCompression
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::UnsupportedCompressionType => Verdict::Corrupt,
        Code::Fatal
        | Code::FencedInstanceId
        | Code::Fenced
        | Code::UnsupportedFeature
        | Code::InconsistentGroupProtocol
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::GroupMaxSizeReached => Verdict::Fatal,
        _ => Verdict::Passing,
    }
}

/// What a person checks when the cluster turns the client away; `None` for other errors.
pub(super) fn advice(code: Code) -> Option<&'static str> {
    match verdict(code) {
        Verdict::Credentials if code == Code::SSL => Some(
            "check `security.protocol` and `ssl.ca.location` (and `ssl.certificate.location`, `ssl.key.location` if the brokers want a certificate)",
        ),
        Verdict::Credentials => {
            Some("check `security.protocol`, `sasl.mechanism`, `sasl.username` and `sasl.password`")
        }
        Verdict::Forbidden => Some("the user needs the ACLs READ and DESCRIBE on the topic"),
        Verdict::GroupForbidden => Some("the user needs the ACL READ on the group"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_brokers_is_waited_out() {
        for code in [
            Code::AllBrokersDown,
            Code::BrokerTransportFailure,
            Code::OperationTimedOut,
            Code::NotLeaderForPartition,
            Code::PollExceeded,
        ] {
            assert_eq!(verdict(code), Verdict::Passing, "{code}");
            assert_eq!(advice(code), None);
        }
    }

    #[test]
    fn what_people_must_change_comes_with_advice() {
        for code in [Code::Authentication, Code::SSL, Code::TopicAuthorizationFailed, Code::GroupAuthorizationFailed] {
            assert!(advice(code).is_some(), "{code}");
        }
        assert_eq!(verdict(Code::AutoOffsetReset), Verdict::OffsetGone);
        assert_eq!(verdict(Code::BadMessage), Verdict::Corrupt);
    }
}
