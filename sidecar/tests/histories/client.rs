//! A client that sends numbered messages, whole or in pieces, and leaves in one way or another.

use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It sent a close frame, or the end of its stream, behind all its messages.
    Orderly,
    /// The gateway's close frame came first.
    Closed(u16),
    /// It stopped reading and answering, and was cut off.
    Silent,
}

#[derive(Debug)]
pub(crate) struct Story {
    /// Messages that were written to the last byte: `0..sent`.
    pub(crate) sent: u64,
    pub(crate) exit: Exit,
}

pub(crate) async fn act(stream: DuplexStream, mut rng: Rng) -> Story {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let steps = rng.u8(0..12);
    let mut sent = 0;
    let mut inbox = Vec::new();
    for _ in 0..steps {
        let pause = match rng.u8(0..10) {
            0..6 => 0,
            6..9 => rng.u64(1..2000),
            _ => rng.u64(1..20_000),
        };
        if let Some(code) = listen(&mut reader, &mut inbox, pause).await {
            answer_close(&mut writer).await;
            return Story {
                sent,
                exit: Exit::Closed(code),
            };
        }
        let whole = match rng.u8(0..10) {
            0 => write(&mut writer, &mut rng, &frame(0x9, b"are you there")).await,
            1 => write(&mut writer, &mut rng, &frame(0x1, br#"{"event":"ping"}"#)).await,
            _ => {
                // Now and then one of some size: blanks are JSON too.
                let width = if rng.u8(0..20) == 0 {
                    rng.usize(1..30_000)
                } else {
                    1
                };
                let message = format!("{sent:<width$}");
                let written = write(&mut writer, &mut rng, &frame(0x1, message.as_bytes())).await;
                sent += u64::from(written);
                written
            }
        };
        if !whole {
            let code = listen(&mut reader, &mut inbox, u64::MAX).await;
            return Story {
                sent,
                exit: code.map_or(Exit::Silent, Exit::Closed),
            };
        }
    }
    match rng.u8(0..4) {
        0 => {
            let closed = write(&mut writer, &mut rng, &frame(0x8, &1000u16.to_be_bytes())).await;
            let code = listen(&mut reader, &mut inbox, u64::MAX).await;
            // The echo of our own close is no close of the gateway's.
            let exit = match code {
                Some(code) if code != 1000 || !closed => Exit::Closed(code),
                _ => Exit::Orderly,
            };
            Story { sent, exit }
        }
        1 => Story {
            sent,
            exit: Exit::Orderly,
        },
        2 => {
            // Silent but reading: the heartbeat's deadline is what ends it.
            let code = listen(&mut reader, &mut inbox, u64::MAX).await;
            answer_close(&mut writer).await;
            Story {
                sent,
                exit: code.map_or(Exit::Silent, Exit::Closed),
            }
        }
        _ => {
            // Silent and deaf.
            tokio::time::sleep(Duration::from_mins(5)).await;
            Story {
                sent,
                exit: Exit::Silent,
            }
        }
    }
}

/// Reads for so long; the code of a close frame.
async fn listen(
    reader: &mut (impl AsyncReadExt + Unpin),
    inbox: &mut Vec<u8>,
    millis: u64,
) -> Option<u16> {
    let patience = Duration::from_millis(millis.min(600_000));
    let all = async {
        loop {
            if let Some(code) = close_code(inbox) {
                return Some(code);
            }
            if reader.read_buf(inbox).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    };
    match tokio::time::timeout(patience, all).await {
        Ok(ended) => Some(ended.unwrap_or(1006)),
        Err(_) => None,
    }
}

/// Walks over the gateway's frames, which are short and unmasked.
fn close_code(inbox: &mut Vec<u8>) -> Option<u16> {
    while let [head, len, ..] = **inbox {
        let len = usize::from(len);
        assert!(len < 126, "a short frame");
        if inbox.len() < 2 + len {
            return None;
        }
        let payload: Vec<u8> = inbox.drain(..2 + len).skip(2).collect();
        if head & 0xF == 0x8 {
            return Some(
                payload
                    .first_chunk()
                    .map_or(1005, |code| u16::from_be_bytes(*code)),
            );
        }
    }
    None
}

async fn answer_close(writer: &mut (impl AsyncWriteExt + Unpin)) {
    // The gateway may be gone already, and that is fine.
    let _ = writer.write_all(&frame(0x8, &1000u16.to_be_bytes())).await;
}

/// In one piece or two; whether all of it was taken.
async fn write(writer: &mut (impl AsyncWriteExt + Unpin), rng: &mut Rng, frame: &[u8]) -> bool {
    let cut = if rng.u8(0..4) == 0 {
        rng.usize(0..frame.len())
    } else {
        0
    };
    let pieces = [&frame[..cut], &frame[cut..]];
    for piece in pieces {
        let written = tokio::time::timeout(Duration::from_secs(200), writer.write_all(piece)).await;
        if !matches!(written, Ok(Ok(()))) {
            return false;
        }
        if cut > 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..50))).await;
        }
    }
    true
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 7, 7, 7];
    let mut out = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => out.push(0x80 | len),
        _ => {
            out.push(0x80 | 0x7E);
            out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().map(|byte| byte ^ 7));
    out
}
