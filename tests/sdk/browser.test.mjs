// Two people chat and share a group, each in a page of a headless Chromium that runs the bundled SDK. The pages come from an origin that
// the server has been told of.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './browser.mjs';
import { CbEvents, Server, WEB, WINDOWS, all, tolerateWorkAfterLogout } from './harness.mjs';

const NETWORK = 10000; // of the SDK itself
const MENTIONED = 1;
const [SINGLE, GROUP] = [1, 3];
const chat = 'si_alice_bob';
let browser;
let server;
let pages;
let alice;
let bob;

before(async () => {
  tolerateWorkAfterLogout();
  browser = await Browser.start();
  server = await Server.start({ MAGPIE_GATEWAY_ALLOWED_ORIGINS: browser.origin });
  await server.register('alice', 'bob');
  pages = { alice: await browser.open(), bob: await browser.open() };
  [alice, bob] = await Promise.all(['alice', 'bob'].map((user) => server.login(user, WEB, { sdk: pages[user].sdk() })));
});

after(async () => {
  await browser?.remove();
  await server?.remove();
});

const saying = (content) => (m) => m.textElem?.content === content;

async function say(client, to, content) {
  const { data: message } = await client.sdk.createTextMessage(content);
  const { data } = await client.sdk.sendMessage({ recvID: '', groupID: '', ...to, message });
  return data;
}

async function heard(client, to, content, other) {
  const arrived = other.nextMessage(saying(content));
  const sent = await say(client, to, content);
  const got = await arrived;
  assert.deepEqual([got.clientMsgID, got.serverMsgID], [sent.clientMsgID, sent.serverMsgID]);
  await client.shows(to.groupID ? `sg_${to.groupID}` : chat, sent.clientMsgID);
  return got;
}

async function texts(client, conversationID) {
  const { data } = await client.sdk.getAdvancedHistoryMessageList({ conversationID, count: 50, startClientMsgID: '' });
  return data.messageList.map((m) => m.textElem?.content ?? m.atTextElem?.text).filter(Boolean);
}

const unread = async (client) => (await client.sdk.getTotalUnreadMsgCount()).data;

test('the server lets isolated pages of a listed origin in, and no others', async () => {
  for (const page of Object.values(pages)) assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated), true);
  const stranger = await browser.open(browser.otherOrigin);
  assert.equal(await stranger.evaluate(() => globalThis.crossOriginIsolated), true);
  const refused = await server.login('alice', WINDOWS, { sdk: stranger.sdk() }).then(() => 0, (error) => error.errCode);
  assert.equal(refused, NETWORK);
});

test('two pages chat both ways', async () => {
  const appeared = bob.next(CbEvents.OnNewConversation, (list) => list.some((c) => c.conversationID === chat));
  await heard(alice, { recvID: 'bob' }, 'grüße 你好 🐦', bob);
  await appeared;
  const counted = bob.next(CbEvents.OnTotalUnreadMessageCountChanged);
  const last = await heard(alice, { recvID: 'bob' }, 'are you there?', bob);
  await counted;
  assert.ok(await unread(bob) > 0);
  const { data: shown } = await bob.sdk.getOneConversation({ sourceID: 'alice', sessionType: SINGLE });
  assert.deepEqual([shown.showName, shown.unreadCount], ['name of alice', 2]);
  const receipt = alice.next(CbEvents.OnRecvC2CReadReceipt, (list) =>
    list.some((r) => r.userID === 'bob' && r.msgIDList.includes(last.clientMsgID)));
  await bob.sdk.markConversationMessageAsRead(chat);
  await receipt;
  const typing = alice.next(CbEvents.OnConversationUserInputStatusChanged, (s) => s.userID === 'bob');
  await bob.sdk.changeInputStates({ conversationID: chat, focus: true });
  assert.deepEqual((await typing).platformIDs, [WEB]);
  await heard(bob, { recvID: 'alice' }, 'I am', alice);
  for (const client of [alice, bob]) {
    assert.deepEqual(await texts(client, chat), ['grüße 你好 🐦', 'are you there?', 'I am']);
    assert.ok(client.received().every((m) => m.sendID !== client.userID));
  }
});

test('many messages at once arrive in order, and nobody is told of his own', async () => {
  const said = (client) => Array.from({ length: 20 }, (_, i) => `${client.userID} ${i}`);
  const last = [alice, bob].map((client) => client.nextMessage(saying(said(client === alice ? bob : alice).at(-1))));
  await Promise.all([[alice, 'bob'], [bob, 'alice']].map(async ([client, recvID]) => {
    for (const content of said(client)) await say(client, { recvID }, content);
  }));
  await Promise.all(last);
  for (const [client, other] of [[alice, bob], [bob, alice]]) {
    assert.deepEqual(client.received().slice(-20).map((m) => m.textElem.content), said(other));
    assert.ok(client.received().every((m) => m.sendID === other.userID));
  }
});

test('a group made in one page opens in the other one', async () => {
  const made = alice.next(CbEvents.OnJoinedGroupAdded);
  await alice.sdk.createGroup({ memberUserIDs: [], groupInfo: { groupID: 'nest', groupName: 'nest' } });
  assert.equal((await made).groupID, 'nest');
  const added = bob.next(CbEvents.OnJoinedGroupAdded);
  const seen = alice.next(CbEvents.OnGroupMemberAdded, (m) => m.userID === 'bob');
  await alice.sdk.inviteUserToGroup({ groupID: 'nest', reason: '', userIDList: ['bob'] });
  assert.deepEqual([(await added).groupID, (await seen).inviterUserID], ['nest', 'alice']);
  await heard(alice, { groupID: 'nest' }, 'welcome', bob);
  await heard(bob, { groupID: 'nest' }, 'thanks', alice);
  for (const client of [alice, bob]) {
    assert.deepEqual(await texts(client, 'sg_nest'), ['welcome', 'thanks']);
    const { data: members } = await client.sdk.getGroupMemberList({ groupID: 'nest', filter: 0, ...all });
    assert.deepEqual(members.map((m) => m.userID), ['alice', 'bob']);
  }
  const { data: shown } = await bob.sdk.getOneConversation({ sourceID: 'nest', sessionType: GROUP });
  assert.ok(shown.unreadCount > 0);
  // The page may read refusals too.
  const refused = await bob.sdk.dismissGroup('nest').then(() => '', (error) => error.errMsg);
  assert.equal(refused, 'NoPermissionError');
});

test('a page that was left shows what it missed when it is opened again', async () => {
  for (const conversationID of [chat, 'sg_nest']) await bob.sdk.markConversationMessageAsRead(conversationID);
  await alice.sdk.subscribeUsersStatus(['bob']);
  const gone = alice.next(CbEvents.OnUserStatusChanged, (u) => u.userID === 'bob' && u.status === 0);
  await pages.bob.leave();
  await gone;

  const desk = await server.login('alice', WINDOWS); // It hears of a message when the message is stored.
  for (const content of ['missed 1', 'missed 2', 'missed 3']) await heard(alice, { recvID: 'bob' }, content, desk);
  await alice.sdk.setGroupInfo({ groupID: 'nest', groupName: 'big nest' });
  await heard(alice, { groupID: 'nest' }, 'missed in the group', desk);
  const mentioned = desk.nextMessage((m) => m.atTextElem?.text === '@bob?');
  const { data: message } = await alice.sdk.createTextAtMessage({ text: '@bob?', atUserIDList: ['bob'] });
  await alice.sdk.sendMessage({ recvID: '', groupID: 'nest', message });
  await alice.shows('sg_nest', (await mentioned).clientMsgID);

  await pages.bob.visit();
  bob = await server.login('bob', WEB, { sdk: pages.bob.sdk() });
  const { data: list } = await bob.sdk.getConversationListSplit(all);
  const shown = Object.fromEntries(list.map((c) => [c.conversationID, [c.showName, c.unreadCount, c.groupAtType]]));
  assert.deepEqual(shown[chat], ['name of alice', 3, 0]);
  assert.deepEqual(shown.sg_nest, ['big nest', 3, MENTIONED]); // the new name is a message too
  assert.equal(await unread(bob), 6);
  assert.deepEqual((await texts(bob, chat)).slice(-3), ['missed 1', 'missed 2', 'missed 3']);
  assert.deepEqual((await texts(bob, 'sg_nest')).slice(-2), ['missed in the group', '@bob?']);
  await heard(bob, { recvID: 'alice' }, 'back again', alice);
  await desk.sdk.logout();
});

test('a reloaded page shows what it showed before', async () => {
  const shown = async () => [await texts(alice, chat), await texts(alice, 'sg_nest')];
  const before = await shown();
  await pages.alice.reload();
  alice = await server.login('alice', WEB, { sdk: pages.alice.sdk() });
  assert.deepEqual(await shown(), before);
  await heard(bob, { groupID: 'nest' }, 'after the reload', alice);
});
