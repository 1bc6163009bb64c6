//! The first bytes of a stranger, to a node and to a program. A peer without the secret is not admitted, and the bytes
//! that are read are bounded.
//!
//! The first byte chooses the side that listens.

use super::{refused, run};
use decisiongraph_rpc::Secret;
use decisiongraph_rpc::preamble::{Cookie, Door, FRAME_BYTES_MAX, Opening, introduce, receive};
use decisiongraph_rpc::wire::Versions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

/// Most frames that one side reads before it decides.
const FRAMES_MAX: usize = 2;

pub(super) fn offer(bytes: &[u8]) {
    let Some((who, said)) = bytes.split_first() else { return };
    let secret = || Door::Secret(Secret::new("correct horse battery staple brick").expect("strong"));
    let door = if who & 1 == 0 { Door::Socket } else { secret() };
    run(async {
        let (mut near, mut far) = tokio::io::duplex(said.len() + 4 * FRAME_BYTES_MAX);
        near.write_all(said).await.expect("room");
        near.shutdown().await.expect("open");
        let ours = Versions::ours();
        if who & 2 == 0 {
            let opening = Opening { cookie: Cookie::random(), connection: Uuid::from_u128(7) };
            let let_in = receive(&mut far, &door, &ours, opening, || Ok(())).await;
            match let_in {
                Ok(()) => assert!(matches!(door, Door::Socket), "let in without the secret"),
                Err(error) => refused(&error),
            }
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.expect("memory is read");
            assert!(said.len() - rest.len() <= FRAMES_MAX * FRAME_BYTES_MAX, "{} of {} bytes", rest.len(), said.len());
            drop(far);
            let mut told = Vec::new();
            near.read_to_end(&mut told).await.expect("memory is read");
            assert!(told.len() <= FRAMES_MAX * FRAME_BYTES_MAX, "{} bytes", told.len());
            if matches!(door, Door::Secret(_)) {
                let told = String::from_utf8_lossy(&told);
                assert!(!told.contains(&opening.cookie.to_text()), "the cookie left");
                assert!(!told.contains(&opening.connection.to_string()), "the connection's number left");
            }
        } else {
            match introduce(&mut far, &door, &ours).await {
                Ok(_) => assert!(matches!(door, Door::Socket), "believed without the secret"),
                Err(unmet) => refused(&unmet.told()),
            }
        }
    });
}
