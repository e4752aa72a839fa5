//! A client over a [`Conn`]: requests with answers, pushes, and messages.
//!
//! Every frame that arrives is kept raw and in order in [`Client::arrivals`]; what the methods return is decoded from the same
//! frames. Waiting for an answer keeps pushes that come first, and the other way round.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use magpie_envelope::{Codec, Encoding, Limits, Request, Response};
use magpie_proto::openim::msg::SendMsgResp;
use magpie_proto::openim::sdkws::{
    MsgData, PullMessageBySeqsReq, PullMessageBySeqsResp, PullMsgs, PushMessages, SeqRange,
};
use prost::Message as _;

use crate::{Arrival, Conn, Event, Handshake, Opcode};

/// How long an answer or a push may take.
const ANSWER_BOUND: Duration = Duration::from_secs(20);

/// How many messages one pull asks for: few enough for an answer that native clients take (1 MiB).
const PULL: i64 = 100;

/// A message that was pushed.
#[derive(Debug, Clone)]
pub struct Push {
    /// Trace id of the request that caused it.
    pub operation_id: String,
    /// Conversation under which it came.
    pub conversation: String,
    /// Whether it came as a notification.
    pub notification: bool,
    /// The message.
    pub message: MsgData,
}

/// A logged-in connection of one user.
#[derive(Debug)]
pub struct Client {
    /// The user.
    pub user: String,
    /// The platform of the connection.
    pub platform: i32,
    /// Every event so far, raw.
    pub arrivals: Vec<Arrival>,
    conn: Conn,
    codec: Codec,
    counter: u64,
    answers: VecDeque<Response>,
    pushes: VecDeque<Push>,
    others: VecDeque<Response>,
}

/// The codec that a handshake asks for.
#[must_use]
pub(crate) fn codec_of(handshake: &Handshake) -> Codec {
    let encoding = if handshake.parameter("sdkType") == "js" {
        Encoding::Json
    } else {
        Encoding::Gob
    };
    let header = handshake
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("compression"));
    let compression = match handshake.parameter("compression") {
        "" => header.map_or("", |(_, value)| value),
        value => value,
    };
    Codec {
        encoding,
        compressed: compression == "gzip",
    }
}

/// A text message as clients send it, with a random client id.
#[must_use]
pub fn text_message(from: &str, to: &str, text: &str) -> MsgData {
    MsgData {
        send_id: from.to_owned(),
        recv_id: to.to_owned(),
        client_msg_id: format!("test-{:032x}", rand::random::<u128>()),
        sender_platform_id: 5,
        session_type: 1,
        msg_from: 100,
        content_type: 101,
        content: Bytes::from(serde_json::json!({"content": text}).to_string()),
        create_time: magpie_types::time::now_ms(),
        status: 1,
        ..MsgData::default()
    }
}

impl Client {
    /// Connects to a gateway.
    ///
    /// # Errors
    /// The handshake is refused, in either form.
    pub async fn connect(ws_url: &str, handshake: &Handshake) -> anyhow::Result<Self> {
        let conn = Conn::open(ws_url, handshake)
            .await?
            .map_err(|refused| anyhow::anyhow!("refused: {} {}", refused.status, refused.text()))?;
        Self::start(conn, handshake).await
    }

    /// Takes an upgraded connection and reads the handshake's result, if it comes as a frame.
    ///
    /// # Errors
    /// The result is an error or doesn't come.
    pub async fn start(conn: Conn, handshake: &Handshake) -> anyhow::Result<Self> {
        let mut client = Self {
            user: handshake.parameter("sendID").to_owned(),
            platform: handshake
                .parameter("platformID")
                .parse()
                .unwrap_or_default(),
            arrivals: Vec::new(),
            conn,
            codec: codec_of(handshake),
            counter: 0,
            answers: VecDeque::new(),
            pushes: VecDeque::new(),
            others: VecDeque::new(),
        };
        if handshake.parameter("isMsgResp") == "true" {
            let Event::Frame { payload, .. } = client.arrive().await? else {
                bail!("closed instead of a result")
            };
            let result: serde_json::Value = serde_json::from_slice(&payload)?;
            if result["errCode"] != 0 {
                bail!("refused: {result}");
            }
        }
        Ok(client)
    }

    /// The connection below, for frames that no client would send.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// How this connection writes envelopes.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Sends a request without waiting; returns its `msgIncr`.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send_request(
        &mut self,
        req_identifier: i32,
        data: Bytes,
    ) -> anyhow::Result<String> {
        let operation_id = format!("test-{:016x}", rand::random::<u64>());
        self.send_request_as(&operation_id, req_identifier, data)
            .await
    }

    /// Sends a request under a trace id of the caller's.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send_request_as(
        &mut self,
        operation_id: &str,
        req_identifier: i32,
        data: Bytes,
    ) -> anyhow::Result<String> {
        self.counter += 1;
        let msg_incr = format!("{}_{}_{}", self.user, self.platform, self.counter);
        let request = Request {
            req_identifier,
            send_id: self.user.clone(),
            operation_id: operation_id.to_owned(),
            msg_incr: msg_incr.clone(),
            data,
            ..Request::default()
        };
        self.conn
            .send(Opcode::BINARY, &self.codec.encode_request(&request))
            .await?;
        Ok(msg_incr)
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// It doesn't come in time, or the connection ends.
    pub async fn answer(&mut self, msg_incr: &str) -> anyhow::Result<Response> {
        loop {
            if let Some(at) = self
                .answers
                .iter()
                .position(|answer| answer.msg_incr == msg_incr)
            {
                return self
                    .answers
                    .remove(at)
                    .context("the answer at this position");
            }
            self.take_frame().await?;
        }
    }

    /// Sends a request and waits for its answer, error or not.
    ///
    /// # Errors
    /// No answer.
    pub async fn request(
        &mut self,
        req_identifier: i32,
        body: &impl prost::Message,
    ) -> anyhow::Result<Response> {
        let msg_incr = self
            .send_request(req_identifier, body.encode_to_vec().into())
            .await?;
        self.answer(&msg_incr).await
    }

    /// Sends a request and decodes its successful answer.
    ///
    /// # Errors
    /// No answer, or an error (its code is in the text).
    pub async fn call<A: prost::Message + Default>(
        &mut self,
        req_identifier: i32,
        body: &impl prost::Message,
    ) -> anyhow::Result<A> {
        let answer = self.request(req_identifier, body).await?;
        if answer.err_code != 0 {
            bail!(
                "{req_identifier} answered {} {}",
                answer.err_code,
                answer.err_msg
            );
        }
        Ok(A::decode(answer.data.unwrap_or_default())?)
    }

    /// Sends any message and waits for the acknowledgement.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn send_message(&mut self, message: &MsgData) -> anyhow::Result<SendMsgResp> {
        self.call(1003, message).await
    }

    /// Sends a text to a user.
    ///
    /// # Panics
    /// The message isn't acknowledged.
    pub async fn send_text(&mut self, to: &str, text: &str) -> SendMsgResp {
        let mut message = text_message(&self.user, to, text);
        message.sender_platform_id = self.platform;
        self.send_message(&message)
            .await
            .expect("the message is acknowledged")
    }

    /// The next pushed message.
    ///
    /// # Errors
    /// None comes in time, or the connection ends.
    pub async fn push(&mut self) -> anyhow::Result<Push> {
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push);
            }
            self.take_frame().await?;
        }
    }

    /// The next pushed message that fits; those before it are dropped.
    ///
    /// # Errors
    /// None comes in time, or the connection ends.
    pub async fn push_where(&mut self, fits: impl Fn(&Push) -> bool) -> anyhow::Result<Push> {
        loop {
            let push = self.push().await?;
            if fits(&push) {
                return Ok(push);
            }
        }
    }

    /// The next frame that is neither an answer nor a message: a kick or a presence change.
    ///
    /// # Errors
    /// None comes in time, or the connection ends.
    pub async fn other(&mut self) -> anyhow::Result<Response> {
        loop {
            if let Some(response) = self.others.pop_front() {
                return Ok(response);
            }
            self.take_frame().await?;
        }
    }

    /// The same, if one has come already.
    pub fn other_now(&mut self) -> Option<Response> {
        self.others.pop_front()
    }

    /// Waits for the end of the connection; whatever comes before stays available.
    ///
    /// # Errors
    /// It stays open.
    pub async fn closed(&mut self) -> anyhow::Result<()> {
        loop {
            match self.arrive().await? {
                Event::Closed { .. } => return Ok(()),
                event => self.sort(&event)?,
            }
        }
    }

    /// Whatever comes next, as it is.
    ///
    /// # Errors
    /// Nothing comes in time.
    pub async fn event(&mut self) -> anyhow::Result<Event> {
        self.arrive().await
    }

    /// A whole conversation as this user pulls it, from seq 1 to the newest, in the order of the answers.
    ///
    /// # Errors
    /// A pull fails.
    pub async fn pull_all(&mut self, conversation: &str) -> anyhow::Result<Vec<MsgData>> {
        let mut messages: Vec<MsgData> = Vec::new();
        loop {
            let begin = i64::try_from(messages.len())? + 1;
            let body = PullMessageBySeqsReq {
                user_id: self.user.clone(),
                seq_ranges: vec![SeqRange {
                    conversation_id: conversation.to_owned(),
                    begin,
                    end: begin + PULL - 1,
                    num: PULL,
                }],
                order: 0,
            };
            let answer: PullMessageBySeqsResp = self.call(1002, &body).await?;
            let of = |mut answers: BTreeMap<String, PullMsgs>| answers.remove(conversation);
            match of(answer.msgs).or_else(|| of(answer.notification_msgs)) {
                Some(pulled) if !pulled.msgs.is_empty() => messages.extend(pulled.msgs),
                _ => return Ok(messages),
            }
        }
    }

    async fn arrive(&mut self) -> anyhow::Result<Event> {
        if let Some(Arrival {
            event: event @ Event::Closed { .. },
            ..
        }) = self.arrivals.last()
        {
            return Ok(event.clone());
        }
        let arrival = self
            .conn
            .next(ANSWER_BOUND)
            .await
            .context("nothing arrives")?;
        self.arrivals.push(arrival.clone());
        Ok(arrival.event)
    }

    async fn take_frame(&mut self) -> anyhow::Result<()> {
        let event = self.arrive().await?;
        if matches!(event, Event::Closed { .. }) {
            bail!("the connection of {} ended", self.user);
        }
        self.sort(&event)
    }

    fn sort(&mut self, event: &Event) -> anyhow::Result<()> {
        let Event::Frame {
            opcode: Opcode::BINARY,
            payload,
            ..
        } = event
        else {
            return Ok(());
        };
        let response = self.codec.decode_response(payload, &Limits::CLIENT)?;
        match response.req_identifier {
            2001 => {
                let pushed = PushMessages::decode(response.data.unwrap_or_default())?;
                for (notification, conversations) in
                    [(false, pushed.msgs), (true, pushed.notification_msgs)]
                {
                    for (conversation, messages) in conversations {
                        self.pushes
                            .extend(messages.msgs.into_iter().map(|message| Push {
                                operation_id: response.operation_id.clone(),
                                conversation: conversation.clone(),
                                notification,
                                message,
                            }));
                    }
                }
            }
            2002 => self.others.push_back(response),
            2005 if response.msg_incr.is_empty() => self.others.push_back(response),
            _ => self.answers.push_back(response),
        }
        Ok(())
    }
}
