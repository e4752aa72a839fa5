// One-to-one chat through the unmodified TypeScript SDK: what two applications do, and what each sees.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CbEvents, Server, tolerateWorkAfterLogout } from './harness.mjs';

let server;
let alice;
let desk; // Alice's second device
let bob;
const chat = 'si_alice_bob';

before(async () => {
  tolerateWorkAfterLogout();
  server = await Server.start();
  await server.register('alice', 'bob', 'carol');
  alice = await server.login('alice');
  desk = await server.login('alice', 3);
  bob = await server.login('bob');
});

after(async () => {
  await Promise.allSettled([alice?.sdk.logout(), desk?.sdk.logout(), bob?.sdk.logout()]);
  await server?.remove();
});

const file = () => new File(['content'], 'f.bin');
const sound = { uuid: 's', soundPath: '', sourceUrl: 'http://127.0.0.1/s.mp3', dataSize: 4, duration: 5, soundType: 'mp3' };
const video = {
  videoUUID: 'v', videoPath: '', videoUrl: 'http://127.0.0.1/v.mp4', videoType: 'mp4', videoSize: 6, duration: 7,
  snapshotUUID: 'w', snapshotPath: '', snapshotUrl: 'http://127.0.0.1/w.png', snapshotSize: 8, snapshotWidth: 9, snapshotHeight: 10,
};
const document = { uuid: 'd', filePath: '', sourceUrl: 'http://127.0.0.1/d.txt', fileName: 'd.txt', fileSize: 11, fileType: 'txt' };
const picture = { uuid: 'p', type: 'png', size: 1, width: 2, height: 3, url: 'http://127.0.0.1/p.png' };
const pictures = { sourcePicture: picture, bigPicture: picture, snapshotPicture: picture, sourcePath: '' };
const kinds = {
  text: [101, (sdk) => sdk.createTextMessage('hello'), 'textElem'],
  picture: [102, (sdk) => sdk.createImageMessageByURL(pictures), 'pictureElem'],
  sound: [103, (sdk) => sdk.createSoundMessageByURL(sound), 'soundElem'],
  video: [104, (sdk) => sdk.createVideoMessageByURL(video), 'videoElem'],
  document: [105, (sdk) => sdk.createFileMessageByURL(document), 'fileElem'],
  // The application has uploaded these files itself; the SDK's own upload needs object storage.
  'picture-by-file': [102, (sdk) => sdk.createImageMessageByFile({ ...pictures, file: file() }), 'pictureElem'],
  'sound-by-file': [103, (sdk) => sdk.createSoundMessageByFile({ ...sound, file: file() }), 'soundElem'],
  'video-by-file': [
    104, (sdk) => sdk.createVideoMessageByFile({ ...video, videoFile: file(), snapshotFile: file() }), 'videoElem',
  ],
  'document-by-file': [105, (sdk) => sdk.createFileMessageByFile({ ...document, file: file() }), 'fileElem'],
  at: [106, (sdk) => sdk.createTextAtMessage({ text: 'hi @bob', atUserIDList: ['bob'] }), 'atTextElem'],
  quote: [
    114,
    async (sdk) => {
      const { data } = await sdk.createTextMessage('quoted');
      return sdk.createQuoteMessage({ text: 'see', message: JSON.stringify(data) });
    },
    'quoteElem',
  ],
  merge: [
    107,
    async (sdk) => {
      const { data } = await sdk.createTextMessage('merged');
      return sdk.createMergerMessage({ messageList: [data], title: 'both', summaryList: ['a: merged'] });
    },
    'mergeElem',
  ],
  card: [108, (sdk) => sdk.createCardMessage({ userID: 'carol', nickname: 'Carol', faceURL: '', ex: '' }), 'cardElem'],
  location: [109, (sdk) => sdk.createLocationMessage({ description: 'here', longitude: 1.5, latitude: -2.5 }), 'locationElem'],
  face: [115, (sdk) => sdk.createFaceMessage({ index: 3, data: 'smile' }), 'faceElem'],
  custom: [110, (sdk) => sdk.createCustomMessage({ data: '{"x":1}', extension: 'e', description: 'd' }), 'customElem'],
};

for (const [kind, [contentType, create, elem]] of Object.entries(kinds)) {
  test(`the other side and the sender's other device receive a message of kind ${kind} as it was sent`, async () => {
    const { data: message } = await create(alice.sdk);
    const arrived = [bob, desk].map((device) => device.nextMessage((m) => m.clientMsgID === message.clientMsgID));
    const sent = await alice.send('bob', message);
    assert.match(sent.serverMsgID, /^[0-9a-f]{32}$/);
    assert.ok(message[elem]);
    for (const got of await Promise.all(arrived)) {
      assert.equal(got.contentType, contentType);
      assert.equal(got.serverMsgID, sent.serverMsgID);
      assert.deepEqual(got[elem], JSON.parse(JSON.stringify(message[elem])));
    }
  });
}

test('a sender is not told of his own message as a new one', async () => {
  const arrived = bob.nextMessage((m) => m.textElem?.content === 'mine');
  const sent = await alice.text('bob', 'mine');
  await arrived;
  const answered = alice.nextMessage((m) => m.textElem?.content === 'yours');
  await bob.text('alice', 'yours');
  await answered;
  assert.equal(alice.received().filter((m) => m.clientMsgID === sent.clientMsgID).length, 0);
});

test('history pages backwards without holes', async () => {
  for (let i = 0; i < 12; i++) {
    const arrived = bob.nextMessage((m) => m.textElem?.content === `page ${i}`);
    await alice.text('bob', `page ${i}`);
    await arrived;
  }
  const seqs = [];
  let startClientMsgID = '';
  for (;;) {
    const { data } = await bob.sdk.getAdvancedHistoryMessageList({ conversationID: chat, count: 5, startClientMsgID });
    seqs.unshift(...data.messageList.map((m) => m.seq));
    if (data.isEnd) break;
    startClientMsgID = data.messageList[0].clientMsgID;
  }
  assert.ok(seqs.length > 12);
  assert.deepEqual(seqs, seqs.map((_, i) => i + 1));
});

test('unread counts rise and a read receipt reaches the sender', async () => {
  const arrived = bob.nextMessage((m) => m.textElem?.content === 'read me');
  const sent = await alice.text('bob', 'read me');
  await arrived;
  const { data: unread } = await bob.sdk.getTotalUnreadMsgCount();
  assert.ok(unread > 0);
  const receipt = alice.next(CbEvents.OnRecvC2CReadReceipt, (list) =>
    list.some((r) => r.userID === 'bob' && r.msgIDList.includes(sent.clientMsgID)),
  );
  const { data: listed } = await bob.sdk.getConversationListSplit({ offset: 0, count: 20 });
  assert.ok(listed.some((c) => c.conversationID === chat && c.unreadCount > 0));
  await bob.sdk.markConversationMessageAsRead(chat);
  await receipt;
});

test('a revoke reaches the other side', async () => {
  const arrived = bob.nextMessage((m) => m.textElem?.content === 'oops');
  const sent = await alice.text('bob', 'oops');
  await arrived;
  // A later message in the same conversation shows that the sender's client has learned the seq of his own.
  const later = alice.nextMessage((m) => m.textElem?.content === 'what?');
  await bob.text('alice', 'what?');
  await later;
  const revoked = bob.next(CbEvents.OnNewRecvMessageRevoked, (r) => r.clientMsgID === sent.clientMsgID);
  await alice.sdk.revokeMessage({ conversationID: chat, clientMsgID: sent.clientMsgID });
  assert.equal((await revoked).revokerID, 'alice');
});

test('typing shows on the other side and is not stored', async () => {
  const typing = bob.next(CbEvents.OnConversationUserInputStatusChanged, (s) => s.userID === 'alice');
  await alice.sdk.changeInputStates({ conversationID: chat, focus: true });
  assert.deepEqual((await typing).platformIDs, [5]);
});

test('changed conversation settings reach the other devices', async () => {
  const phone = await server.login('bob', 2);
  const changed = phone.next(CbEvents.OnConversationChanged, (list) =>
    list.some((c) => c.conversationID === chat && c.isPinned),
  );
  await bob.sdk.setConversation({ conversationID: chat, isPinned: true });
  await changed;
  await phone.sdk.logout();
});

test('a second login on the same platform kicks the first, one on another platform does not', async () => {
  const first = await server.login('carol', 5);
  const phone = await server.login('carol', 2);
  const kicked = first.next(CbEvents.OnKickedOffline);
  const second = await server.login('carol', 5);
  await kicked;
  const arrived = [phone, second].map((c) => c.nextMessage((m) => m.textElem?.content === 'still there?'));
  const listed = [phone, second].map((c) => c.next(CbEvents.OnNewConversation));
  await alice.text('carol', 'still there?');
  await Promise.all([...arrived, ...listed]);
  await Promise.all([phone.sdk.logout(), second.sdk.logout()]);
});

test('messages missed while offline arrive once and in order', async () => {
  await bob.sdk.logout();
  const texts = Array.from({ length: 25 }, (_, i) => `missed ${i}`);
  const stored = desk.nextMessage((m) => m.textElem?.content === texts.at(-1));
  for (const text of texts) await alice.text('bob', text);
  await stored;
  bob = await server.login('bob');
  const { data } = await bob.sdk.getAdvancedHistoryMessageList({ conversationID: chat, count: 25, startClientMsgID: '' });
  assert.deepEqual(data.messageList.map((m) => m.textElem?.content), texts);
});

test('a resend is the same message: one in the history, one serverMsgID', async () => {
  const { data: message } = await alice.sdk.createTextMessage('again');
  const first = await alice.send('bob', { ...message });
  const second = await alice.send('bob', { ...message });
  assert.equal(second.serverMsgID, first.serverMsgID);
  const marker = bob.nextMessage((m) => m.textElem?.content === 'after the resend');
  await alice.text('bob', 'after the resend');
  await marker;
  const { data } = await bob.sdk.getAdvancedHistoryMessageList({ conversationID: chat, count: 5, startClientMsgID: '' });
  assert.equal(data.messageList.filter((m) => m.clientMsgID === message.clientMsgID).length, 1);
});

test('a restart keeps every message', async () => {
  await Promise.all([alice.sdk.logout(), desk.sdk.logout(), bob.sdk.logout()]);
  assert.equal(await server.stop(), 0);
  await server.up();
  alice = await server.login('alice');
  desk = await server.login('alice', 3);
  bob = await server.login('bob');
  const { data } = await bob.sdk.getAdvancedHistoryMessageList({ conversationID: chat, count: 1, startClientMsgID: '' });
  assert.equal(data.messageList[0].textElem.content, 'after the resend');
});
