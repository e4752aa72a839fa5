// Groups through the unmodified TypeScript SDK: Alice owns them and has two devices, as has Bob. Version 0.0.14 has no search for groups
// or members; what it finds by ids is tested instead.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CbEvents, Server, WEB, WINDOWS, all, tolerateWorkAfterLogout } from './harness.mjs';

const [ORDINARY, ADMIN, OWNER] = [20, 60, 100];
const [NORMAL, DISMISSED, MUTED] = [0, 2, 3];
const [BY_APPLICATION, OPEN_TO_ALL] = [0, 2];
const [INVITED, FOUND] = [2, 3];
let server;
let alice;
let desk; // Alice's second device
let bob;
let bobDesk;
let carol;
let dave;

before(async () => {
  tolerateWorkAfterLogout();
  server = await Server.start();
  await server.register('alice', 'bob', 'carol', 'dave', 'erin');
  alice = await server.login('alice', WEB);
  desk = await server.login('alice', WINDOWS);
  bob = await server.login('bob', WEB);
  bobDesk = await server.login('bob', WINDOWS);
  carol = await server.login('carol');
  dave = await server.login('dave');
});

after(async () => {
  await Promise.allSettled([alice, desk, bob, bobDesk, carol, dave].map((client) => client?.sdk.logout()));
  await server?.remove();
});

/** The code of a refusal on the WebSocket. */
const code = (promise) => promise.then(() => 0, (error) => error.errCode);
/** The name of a refusal over HTTP: the SDK keeps no more of it. */
const refusal = (promise) => promise.then(() => '', (error) => error.errMsg);
const at = (groupID, userID) => (data) => data.groupID === groupID && (!userID || data.userID === userID);
const on = (clients, event, check) => Promise.all(clients.map((client) => client.next(event, check)));

/** A group of Alice's that all devices of its members know. */
async function group(groupID, memberUserIDs, groupInfo = {}) {
  const devices = { bob: [bob, bobDesk], carol: [carol], dave: [dave] };
  const members = memberUserIDs.flatMap((id) => devices[id] ?? []);
  const added = on([alice, desk, ...members], CbEvents.OnJoinedGroupAdded, at(groupID));
  const { data } = await alice.sdk.createGroup({
    memberUserIDs,
    groupInfo: { groupID, groupName: `name of ${groupID}`, ...groupInfo },
  });
  await added;
  return data;
}

async function say(client, groupID, message) {
  const { data } = await client.sdk.sendMessageNotOss({ recvID: '', groupID, message });
  return data;
}

async function text(client, groupID, content) {
  const { data } = await client.sdk.createTextMessage(content);
  return say(client, groupID, data);
}

const saying = (content) => (m) => m.textElem?.content === content;
const members = async (client, groupID) => (await client.sdk.getGroupMemberList({ groupID, filter: 0, ...all })).data;
const member = async (client, groupID, userID) =>
  (await client.sdk.getSpecifiedGroupMembersInfo({ groupID, userIDList: [userID] })).data[0];
const conversation = async (client, groupID) =>
  (await client.sdk.getOneConversation({ sourceID: groupID, sessionType: 3 })).data;

test('a new group appears on every device of its members', async () => {
  const made = await group('made', ['bob', 'carol'], { introduction: 'i', ex: 'e' });
  assert.deepEqual(
    [made.groupName, made.ownerUserID, made.creatorUserID, made.memberCount, made.status, made.introduction, made.ex],
    ['name of made', 'alice', 'alice', 3, NORMAL, 'i', 'e'],
  );
  for (const client of [alice, desk, bob, bobDesk, carol]) {
    const { data } = await client.sdk.getJoinedGroupListPage(all);
    assert.deepEqual(data.map((g) => g.groupID), ['made']);
    const list = await members(client, 'made');
    assert.deepEqual([list[0].userID, list[0].roleLevel, list.length], ['alice', OWNER, 3]);
    assert.equal((await client.sdk.isJoinGroup('made')).data, true);
  }
  assert.equal((await dave.sdk.isJoinGroup('made')).data, false);
  const { data: found } = await dave.sdk.getSpecifiedGroupsInfo(['made', 'nowhere']);
  assert.deepEqual(found.map((g) => [g.groupID, g.memberCount]), [['made', 3]]);
  const { data: inside } = await bob.sdk.getUsersInGroup({ groupID: 'made', userIDList: ['carol', 'dave'] });
  assert.deepEqual(inside, ['carol']);
  assert.equal(
    await refusal(bob.sdk.createGroup({ memberUserIDs: [], groupInfo: { groupID: 'made', groupName: 'again' } })),
    'GroupIDExisted',
  );
});

test('a message reaches all members on all devices, its sender\'s too', async () => {
  await group('talk', ['bob', 'carol']);
  const arrived = [desk, bob, bobDesk, carol].map((client) => client.nextMessage(saying('hello all')));
  const sent = await text(alice, 'talk', 'hello all');
  for (const message of await Promise.all(arrived)) {
    assert.deepEqual([message.clientMsgID, message.sendID, message.groupID], [sent.clientMsgID, 'alice', 'talk']);
  }
  const answered = [alice, desk, bob, carol].map((client) => client.nextMessage(saying('hello Alice')));
  await text(bobDesk, 'talk', 'hello Alice');
  await Promise.all(answered);
  assert.ok((await conversation(carol, 'talk')).unreadCount >= 2);
  const { data: history } = await carol.sdk.getAdvancedHistoryMessageList({
    conversationID: 'sg_talk', startClientMsgID: '', count: 20,
  });
  const texts = history.messageList.map((m) => m.textElem?.content).filter(Boolean);
  assert.deepEqual(texts, ['hello all', 'hello Alice']);
  // The SDK asks for the stranger's conversation first, over HTTP.
  assert.equal(await refusal(text(dave, 'talk', 'let me in')), 'NoPermissionError');
});

test('who is mentioned sees it on every device until he has read it', async () => {
  await group('mention', ['bob', 'carol']);
  const hinted = on([bob, bobDesk], CbEvents.OnConversationChanged, (list) =>
    list.some((c) => c.conversationID === 'sg_mention' && c.groupAtType === 1));
  const arrived = carol.nextMessage((m) => m.atTextElem?.text === 'look, @bob');
  const { data: message } = await alice.sdk.createTextAtMessage({
    text: 'look, @bob', atUserIDList: ['bob'], atUsersInfo: [{ atUserID: 'bob', groupNickname: 'bob' }],
  });
  await say(alice, 'mention', message);
  await hinted;
  assert.deepEqual((await arrived).atTextElem.atUserList, ['bob']);
  assert.equal((await conversation(carol, 'mention')).groupAtType, 0);
  const read = on([bobDesk], CbEvents.OnConversationChanged, (list) =>
    list.some((c) => c.conversationID === 'sg_mention' && c.groupAtType === 0));
  await bob.sdk.setConversation({ conversationID: 'sg_mention', groupAtType: 0 });
  await read;
});

test('an invited user is a member at once, and others see him', async () => {
  await group('invite', ['bob']);
  const seen = on([alice, desk, bob, bobDesk], CbEvents.OnGroupMemberAdded, at('invite', 'carol'));
  const added = carol.next(CbEvents.OnJoinedGroupAdded, at('invite'));
  await bob.sdk.inviteUserToGroup({ groupID: 'invite', reason: 'join us', userIDList: ['carol'] });
  await added;
  await seen;
  const row = await member(alice, 'invite', 'carol');
  assert.deepEqual([row.roleLevel, row.joinSource, row.inviterUserID], [ORDINARY, INVITED, 'bob']);
  const arrived = carol.nextMessage(saying('welcome'));
  await text(alice, 'invite', 'welcome');
  await arrived;
  assert.equal(
    await refusal(dave.sdk.inviteUserToGroup({ groupID: 'invite', reason: '', userIDList: ['dave'] })),
    'NoPermissionError',
  );
});

test('whoever likes may join an open group', async () => {
  await group('open', ['bob'], { needVerification: OPEN_TO_ALL });
  const seen = on([alice, bob], CbEvents.OnGroupMemberAdded, at('open', 'dave'));
  const added = dave.next(CbEvents.OnJoinedGroupAdded, at('open'));
  await dave.sdk.joinGroup({ groupID: 'open', reqMsg: '', joinSource: FOUND });
  await Promise.all([seen, added]);
  assert.equal((await members(bob, 'open')).length, 3);
});

test('an application and its answer reach owner and applicant', async () => {
  await group('asked', ['bob'], { needVerification: BY_APPLICATION });
  const asked = on([alice, desk], CbEvents.OnGroupApplicationAdded, at('asked', 'dave'));
  const own = dave.next(CbEvents.OnGroupApplicationAdded, at('asked', 'dave'));
  await dave.sdk.joinGroup({ groupID: 'asked', reqMsg: 'please', joinSource: FOUND, ex: 'x' });
  const [application] = await asked;
  await own;
  assert.deepEqual(
    [application.reqMsg, application.handleResult, application.nickname, application.groupName],
    ['please', 0, 'name of dave', 'name of asked'],
  );
  const { data: received } = await alice.sdk.getGroupApplicationListAsRecipient(all);
  const { data: sent } = await dave.sdk.getGroupApplicationListAsApplicant(all);
  for (const list of [received, sent]) {
    assert.deepEqual(list.filter(at('asked')).map((a) => [a.userID, a.handleResult]), [['dave', 0]]);
  }
  const refuse = { groupID: 'asked', fromUserID: 'dave', handleMsg: 'not now' };
  assert.equal(await refusal(bob.sdk.refuseGroupApplication(refuse)), 'NoPermissionError');
  const refused = dave.next(CbEvents.OnGroupApplicationRejected, at('asked'));
  await alice.sdk.refuseGroupApplication(refuse);
  assert.deepEqual([(await refused).handleResult, (await dave.sdk.isJoinGroup('asked')).data], [-1, false]);
  assert.equal(await refusal(alice.sdk.acceptGroupApplication(refuse)), 'GroupRequestHandled');

  const again = alice.next(CbEvents.OnGroupApplicationAdded, at('asked', 'dave'));
  await dave.sdk.joinGroup({ groupID: 'asked', reqMsg: 'pretty please', joinSource: FOUND });
  await again;
  const accepted = dave.next(CbEvents.OnGroupApplicationAccepted, at('asked'));
  const added = dave.next(CbEvents.OnJoinedGroupAdded, at('asked'));
  const seen = on([alice, bob], CbEvents.OnGroupMemberAdded, at('asked', 'dave'));
  await alice.sdk.acceptGroupApplication({ groupID: 'asked', fromUserID: 'dave', handleMsg: 'welcome' });
  assert.deepEqual([(await accepted).handleResult, (await accepted).handledMsg], [1, 'welcome']);
  await Promise.all([added, seen]);
});

test('who is removed loses the group on his devices and may not speak', async () => {
  await group('kick', ['bob', 'carol']);
  const gone = on([bob, bobDesk], CbEvents.OnJoinedGroupDeleted, at('kick'));
  const seen = on([alice, desk, carol], CbEvents.OnGroupMemberDeleted, at('kick', 'bob'));
  assert.equal(
    await refusal(carol.sdk.kickGroupMember({ groupID: 'kick', reason: '', userIDList: ['bob'] })),
    'NoPermissionError',
  );
  await alice.sdk.kickGroupMember({ groupID: 'kick', reason: 'enough', userIDList: ['bob'] });
  await Promise.all([gone, seen]);
  assert.equal(await code(text(bob, 'kick', 'still here?')), 1203);
  assert.deepEqual((await members(carol, 'kick')).map((m) => m.userID), ['alice', 'carol']);
});

test('who leaves is gone on all his devices; the owner can not leave', async () => {
  await group('quit', ['bob', 'carol']);
  const gone = on([bob, bobDesk], CbEvents.OnJoinedGroupDeleted, at('quit'));
  const seen = on([alice, carol], CbEvents.OnGroupMemberDeleted, at('quit', 'bob'));
  await bob.sdk.quitGroup('quit');
  await Promise.all([gone, seen]);
  // Version 0.0.14 goes on answering isJoinGroup with true.
  const { data: groups } = await bob.sdk.getJoinedGroupListPage(all);
  assert.ok(!groups.some(at('quit')));
  assert.equal(await refusal(alice.sdk.quitGroup('quit')), 'NoPermissionError');
});

test('in a muted group only owner and administrators speak', async () => {
  await group('mute', ['bob']);
  const muted = on([desk, bob, bobDesk], CbEvents.OnGroupInfoChanged, (g) => g.groupID === 'mute' && g.status === MUTED);
  assert.equal(await refusal(bob.sdk.changeGroupMute({ groupID: 'mute', isMute: true })), 'NoPermissionError');
  await alice.sdk.changeGroupMute({ groupID: 'mute', isMute: true });
  await muted;
  assert.equal(await code(text(bob, 'mute', 'may I?')), 1403);
  const heard = bob.nextMessage(saying('quiet, please'));
  await text(alice, 'mute', 'quiet, please');
  await heard;
  const free = on([bob], CbEvents.OnGroupInfoChanged, (g) => g.groupID === 'mute' && g.status === NORMAL);
  await alice.sdk.changeGroupMute({ groupID: 'mute', isMute: false });
  await free;
  const arrived = alice.nextMessage(saying('thanks'));
  await text(bob, 'mute', 'thanks');
  await arrived;
});

test('a muted member may not speak until he is freed', async () => {
  await group('hush', ['bob', 'carol']);
  const muted = on([bob, bobDesk, carol], CbEvents.OnGroupMemberInfoChanged, (m) =>
    at('hush', 'bob')(m) && m.muteEndTime > 0);
  await alice.sdk.changeGroupMemberMute({ groupID: 'hush', userID: 'bob', mutedSeconds: 600 });
  await muted;
  assert.equal(await code(text(bob, 'hush', 'but')), 1402);
  const arrived = bob.nextMessage(saying('I may'));
  await text(carol, 'hush', 'I may');
  await arrived;
  const free = on([bob], CbEvents.OnGroupMemberInfoChanged, (m) => at('hush', 'bob')(m) && m.muteEndTime <= Date.now());
  await alice.sdk.changeGroupMemberMute({ groupID: 'hush', userID: 'bob', mutedSeconds: 0 });
  await free;
  await text(bob, 'hush', 'so do I');
});

test('the group\'s new owner may what the old one could', async () => {
  await group('transfer', ['bob', 'carol']);
  const changed = on([desk, bob, carol], CbEvents.OnGroupInfoChanged, (g) =>
    g.groupID === 'transfer' && g.ownerUserID === 'bob');
  assert.equal(
    await refusal(bob.sdk.transferGroupOwner({ groupID: 'transfer', newOwnerUserID: 'carol' })),
    'NoPermissionError',
  );
  await alice.sdk.transferGroupOwner({ groupID: 'transfer', newOwnerUserID: 'bob' });
  await changed;
  const list = await members(carol, 'transfer');
  assert.deepEqual(list.map((m) => [m.userID, m.roleLevel])[0], ['bob', OWNER]);
  assert.equal(list.find((m) => m.userID === 'alice').roleLevel, ORDINARY);
  assert.equal(await refusal(alice.sdk.dismissGroup('transfer')), 'NoPermissionError');
});

test('a dismissed group is gone on every device', async () => {
  await group('dismiss', ['bob', 'carol']);
  const devices = [alice, desk, bob, bobDesk, carol];
  const told = on(devices, CbEvents.OnGroupDismissed, (g) => g.groupID === 'dismiss' && g.status === DISMISSED);
  const gone = on(devices, CbEvents.OnJoinedGroupDeleted, at('dismiss'));
  await alice.sdk.dismissGroup('dismiss');
  await Promise.all([told, gone]);
  for (const client of devices) {
    const { data } = await client.sdk.getJoinedGroupListPage(all);
    assert.ok(data.every((g) => g.groupID !== 'dismiss'));
  }
  assert.equal(await code(text(bob, 'dismiss', 'anybody?')), 1204);
  assert.equal(await refusal(dave.sdk.joinGroup({ groupID: 'dismiss', reqMsg: '', joinSource: FOUND })), 'DismissedAlreadyError');
});

test('what is set of a group shows on every device', async () => {
  await group('info', ['bob']);
  const changed = on([desk, bob, bobDesk], CbEvents.OnGroupInfoChanged, (g) =>
    g.groupID === 'info' && g.groupName === 'new name' && g.introduction === 'about');
  await alice.sdk.setGroupInfo({ groupID: 'info', groupName: 'new name', introduction: 'about' });
  await changed;
  const announced = on([bob, bobDesk], CbEvents.OnGroupInfoChanged, (g) =>
    g.groupID === 'info' && g.notification === 'meeting at ten');
  const hinted = on([bob], CbEvents.OnConversationChanged, (list) =>
    list.some((c) => c.conversationID === 'sg_info' && c.groupAtType === 4));
  await alice.sdk.setGroupInfo({ groupID: 'info', notification: 'meeting at ten' });
  const [info] = await announced;
  assert.equal(info.notificationUserID, 'alice');
  await hinted;
  assert.notEqual(await refusal(bob.sdk.setGroupInfo({ groupID: 'info', groupName: 'mine' })), '');
});

test('what is set of a member shows on every device', async () => {
  await group('rows', ['bob', 'carol']);
  const named = on([alice, desk, bobDesk, carol], CbEvents.OnGroupMemberInfoChanged, (m) =>
    at('rows', 'bob')(m) && m.nickname === 'Bobby');
  await bob.sdk.setGroupMemberInfo({ groupID: 'rows', userID: 'bob', nickname: 'Bobby', ex: 'x' });
  const [row] = await named;
  assert.deepEqual([row.nickname, row.ex], ['Bobby', 'x']);
  const raised = on([bob, carol], CbEvents.OnGroupMemberInfoChanged, (m) =>
    at('rows', 'bob')(m) && m.roleLevel === ADMIN);
  await alice.sdk.setGroupMemberInfo({ groupID: 'rows', userID: 'bob', roleLevel: ADMIN });
  await raised;
  const list = await members(carol, 'rows');
  assert.deepEqual(list.map((m) => [m.userID, m.roleLevel]), [['alice', OWNER], ['bob', ADMIN], ['carol', ORDINARY]]);
  assert.equal(
    await refusal(carol.sdk.setGroupMemberInfo({ groupID: 'rows', userID: 'bob', roleLevel: ORDINARY })),
    'NoPermissionError',
  );
});

test('lists come in pages', async () => {
  await group('pages', ['bob', 'carol', 'dave', 'erin']);
  const page = (offset) => alice.sdk.getGroupMemberList({ groupID: 'pages', filter: 0, offset, count: 2 });
  const pages = await Promise.all([0, 2, 4].map(page));
  const found = pages.map(({ data }) => data.map((m) => m.userID));
  assert.deepEqual(found.map((ids) => ids.length), [2, 2, 1]);
  assert.deepEqual(new Set(found.flat()), new Set(['alice', 'bob', 'carol', 'dave', 'erin']));
});

test('what happened in a group while a device was away is there after its login', async () => {
  await group('away', ['bob', 'carol']);
  await group('left', ['bob']);
  await bobDesk.sdk.logout();
  await text(alice, 'away', 'missed');
  await alice.sdk.kickGroupMember({ groupID: 'away', reason: '', userIDList: ['carol'] });
  await bob.sdk.quitGroup('left');
  bobDesk = await server.login('bob', WINDOWS);
  const { data: groups } = await bobDesk.sdk.getJoinedGroupListPage(all);
  assert.ok(groups.some(at('away')));
  assert.ok(!groups.some(at('left')));
  assert.deepEqual((await members(bobDesk, 'away')).map((m) => m.userID), ['alice', 'bob']);
  const { data: history } = await bobDesk.sdk.getAdvancedHistoryMessageList({
    conversationID: 'sg_away', startClientMsgID: '', count: 20,
  });
  assert.ok(history.messageList.some(saying('missed')));
});
