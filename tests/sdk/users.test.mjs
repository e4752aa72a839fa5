// Users and conversations through the unmodified TypeScript SDK, two devices of one user.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CbEvents, Server, WEB, WINDOWS, all, tolerateWorkAfterLogout } from './harness.mjs';

const SINGLE = 1;
const [LOGGED_OUT, LOGGED_IN] = [1, 3];
const chat = 'si_alice_bob';
let server;
let alice;
let desk; // Alice's second device
let bob;

before(async () => {
  tolerateWorkAfterLogout();
  server = await Server.start();
  await server.register('alice', 'bob', 'carol');
  alice = await server.login('alice', WEB);
  desk = await server.login('alice', WINDOWS);
  bob = await server.login('bob');
});

after(async () => {
  await Promise.allSettled([alice, desk, bob].map((client) => client?.sdk.logout()));
  await server?.remove();
});

const about = (test) => (list) => list.some((c) => c.conversationID === chat && test(c));

async function chatOf(client) {
  const { data } = await client.sdk.getConversationListSplit(all);
  return data.find((c) => c.conversationID === chat);
}

test('profiles are shown to their users and to others', async () => {
  const { data: self } = await alice.sdk.getSelfUserInfo();
  assert.deepEqual([self.userID, self.nickname], ['alice', 'name of alice']);
  const { data: others } = await alice.sdk.getUsersInfo(['bob', 'nobody', 'carol']);
  assert.deepEqual(others.map((u) => u.nickname).sort(), ['name of bob', 'name of carol']);
});

test('a changed profile shows on the other device', async () => {
  const changed = desk.next(CbEvents.OnSelfInfoUpdated, (u) => u.nickname === 'Alice');
  await alice.sdk.setSelfInfo({ nickname: 'Alice', ex: 'x' });
  const self = await changed;
  assert.deepEqual([self.nickname, self.ex], ['Alice', 'x']);
  const { data: seen } = await bob.sdk.getUsersInfo(['alice']);
  assert.equal(seen[0].nickname, 'Alice');
});

test('who subscribes to a user learns when he comes and goes', async () => {
  const { data: now } = await alice.sdk.subscribeUsersStatus(['bob', 'carol']);
  const online = Object.fromEntries(now.map((u) => [u.userID, u.status]));
  assert.deepEqual(online, { bob: 1, carol: 0 });
  const came = alice.next(CbEvents.OnUserStatusChanged, (u) => u.userID === 'carol' && u.status === 1);
  const carol = await server.login('carol');
  assert.deepEqual((await came).platformIDs, [WEB]);
  const { data: subscribed } = await alice.sdk.getSubscribeUsersStatus();
  assert.equal(subscribed.find((u) => u.userID === 'carol').status, 1);
  const left = alice.next(CbEvents.OnUserStatusChanged, (u) => u.userID === 'carol' && u.status === 0);
  await carol.sdk.logout();
  await left;

  await alice.sdk.unsubscribeUsersStatus(['carol']);
  const before = alice.events.length;
  const unseen = await server.login('carol');
  const second = alice.next(CbEvents.OnUserStatusChanged, (u) => u.userID === 'bob' && u.platformIDs.length === 2);
  const bobDesk = await server.login('bob', WINDOWS);
  await second;
  const told = alice.events.slice(before).filter(({ event }) => event === CbEvents.OnUserStatusChanged);
  assert.deepEqual(told.map(({ data }) => data.userID), ['bob']);
  await alice.sdk.unsubscribeUsersStatus(['bob']);
  assert.deepEqual((await alice.sdk.getSubscribeUsersStatus()).data, []);
  await Promise.all([unseen, bobDesk].map((client) => client.sdk.logout()));
});

test('a conversation appears with its first message, and what one device has read is read on the others', async () => {
  const appeared = [alice, desk].map((device) => device.next(CbEvents.OnNewConversation, about(() => true)));
  await bob.text('alice', 'one');
  await Promise.all(appeared);
  const arrived = [alice, desk].map((device) => device.nextMessage((m) => m.textElem?.content === 'two'));
  await bob.text('alice', 'two');
  await Promise.all(arrived);
  const { data: one } = await alice.sdk.getOneConversation({ sourceID: 'bob', sessionType: SINGLE });
  assert.deepEqual([one.conversationID, one.userID, one.showName], [chat, 'bob', 'name of bob']);
  await alice.sdk.markConversationMessageAsRead(chat);
  // The SDK passes over the receipt of the user's own other device, and reads the positions at its login.
  await desk.sdk.logout();
  desk = await server.login('alice', WINDOWS);
  for (const device of [alice, desk]) assert.equal((await device.sdk.getTotalUnreadMsgCount()).data, 0);
});

const settings = [
  { isPinned: true },
  { recvMsgOpt: 2 },
  { ex: 'text' },
  { burnDuration: 60 },
  { msgDestructTime: 3600, isMsgDestruct: true },
  { isPinned: false, recvMsgOpt: 0 },
];
for (const wanted of settings) {
  test(`the other device learns of ${JSON.stringify(wanted)}`, async () => {
    const fits = (c) => Object.entries(wanted).every(([name, value]) => c[name] === value);
    const changed = desk.next(CbEvents.OnConversationChanged, about(fits));
    await alice.sdk.setConversation({ conversationID: chat, ...wanted });
    await changed;
    assert.ok(fits(await chatOf(desk)));
  });
}

test('burn after reading is switched for both users', async () => {
  const changed = bob.next(CbEvents.OnConversationChanged, about((c) => c.isPrivateChat));
  await alice.sdk.setConversation({ conversationID: chat, isPrivateChat: true });
  await changed;
  assert.equal((await chatOf(bob)).isPrivateChat, true);
  await alice.sdk.setConversation({ conversationID: chat, isPrivateChat: false });
});

test('a client knows whether it is logged in', async () => {
  const carol = await server.login('carol');
  assert.equal((await carol.sdk.getLoginStatus()).data, LOGGED_IN);
  await carol.sdk.logout();
  assert.equal((await carol.sdk.getLoginStatus()).data, LOGGED_OUT);
});

test('a handler that was taken off is called no more', async () => {
  const heard = [];
  const [gone, kept] = ['gone', 'kept'].map((name) => ({ data }) => heard.push([name, data.nickname]));
  for (const handler of [gone, kept]) desk.sdk.on(CbEvents.OnSelfInfoUpdated, handler);
  for (const nickname of ['A', 'Alice']) {
    const changed = desk.next(CbEvents.OnSelfInfoUpdated, (u) => u.nickname === nickname);
    await alice.sdk.setSelfInfo({ nickname });
    await changed;
    desk.sdk.off(CbEvents.OnSelfInfoUpdated, gone);
  }
  desk.sdk.off(CbEvents.OnSelfInfoUpdated, kept);
  assert.deepEqual(heard, [['gone', 'A'], ['kept', 'A'], ['kept', 'Alice']]);
});

test('who types is shown to the other one', async () => {
  const typing = alice.next(CbEvents.OnConversationUserInputStatusChanged, (s) => s.userID === 'bob');
  await bob.sdk.changeInputStates({ conversationID: chat, focus: true });
  assert.deepEqual((await typing).platformIDs, [WEB]);
  const { data: platforms } = await alice.sdk.getInputStates({ conversationID: chat, userID: 'bob' });
  assert.deepEqual(platforms, [WEB]);
});

test('a muted user is not received, and can be told so', async () => {
  await alice.sdk.setSelfInfo({ globalRecvMsgOpt: 1 });
  const refused = await bob.text('alice', 'not now').then(() => 0, (error) => error.errCode);
  assert.equal(refused, 1001);
  await alice.sdk.setSelfInfo({ globalRecvMsgOpt: 0 });
  const arrived = alice.nextMessage((m) => m.textElem?.content === 'now');
  await bob.text('alice', 'now');
  await arrived;
});

test('what the application\'s back end sends of its own reaches all devices', async () => {
  const told = [alice, desk].map((device) => device.next(CbEvents.OnRecvCustomBusinessMessage));
  const notification = { sendUserID: 'bob', recvUserID: 'alice', key: 'order', data: '{"n":1}', reliabilityLevel: 1 };
  await server.post('/msg/send_business_notification', notification);
  for (const { key, data } of await Promise.all(told)) assert.deepEqual([key, data], ['order', '{"n":1}']);
});

test('settings stay after a login', async () => {
  await alice.sdk.setConversation({ conversationID: chat, ex: 'kept' });
  await desk.sdk.logout();
  desk = await server.login('alice', WINDOWS);
  assert.equal((await chatOf(desk)).ex, 'kept');
});
