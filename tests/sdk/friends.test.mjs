// Friends and black list through the unmodified TypeScript SDK, two devices of one user.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CbEvents, Server, WEB, WINDOWS, all, tolerateWorkAfterLogout } from './harness.mjs';

let server;
let alice;
let desk; // Alice's second device
let bob;
let carol;

before(async () => {
  tolerateWorkAfterLogout();
  server = await Server.start();
  await server.register('alice', 'bob', 'carol', 'dave');
  alice = await server.login('alice', WEB);
  desk = await server.login('alice', WINDOWS);
  bob = await server.login('bob');
  carol = await server.login('carol');
});

after(async () => {
  await Promise.allSettled([alice, desk, bob, carol].map((client) => client?.sdk.logout()));
  await server?.remove();
});

const is = (userID) => (data) => data.userID === userID;
const from = (userID) => (data) => data.fromUserID === userID;
const to = (userID) => (data) => data.toUserID === userID;
/** The code of a refusal on the WebSocket. */
const code = (promise) => promise.then(() => 0, (error) => error.errCode);
/** The name of a refusal over HTTP: the SDK keeps no more of it. */
const refusal = (promise) => promise.then(() => '', (error) => error.errMsg);

async function befriend(one, other) {
  await server.post('/friend/import_friend', { ownerUserID: one, friendUserIDs: [other] });
}

test('an application reaches the other user, and its acceptance makes friends on every device', async () => {
  const asked = bob.next(CbEvents.OnFriendApplicationAdded, from('alice'));
  const seen = desk.next(CbEvents.OnFriendApplicationAdded, to('bob'));
  await alice.sdk.addFriend({ toUserID: 'bob', reqMsg: 'hello', ex: 'e' });
  const application = await asked;
  assert.deepEqual(
    [application.reqMsg, application.handleResult, application.fromNickname, application.ex],
    ['hello', 0, 'name of alice', 'e'],
  );
  await seen;
  const { data: sent } = await alice.sdk.getFriendApplicationListAsApplicant(all);
  const { data: received } = await bob.sdk.getFriendApplicationListAsRecipient(all);
  assert.deepEqual([sent, received].map((list) => list.map((a) => [a.fromUserID, a.toUserID])), [
    [['alice', 'bob']],
    [['alice', 'bob']],
  ]);
  // The applicant's devices raise no OnFriendAdded: version 0.0.14 does not call its own synchronisation here.
  const events = [alice, desk].map((device) => device.next(CbEvents.OnFriendApplicationAccepted, to('bob')));
  const added = bob.next(CbEvents.OnFriendAdded, is('alice'));
  await bob.sdk.acceptFriendApplication({ toUserID: 'alice', handleMsg: 'yes' });
  const [accepted] = await Promise.all(events);
  assert.deepEqual([accepted.handleResult, accepted.handleMsg], [1, 'yes']);
  await added;
  const { data: checked } = await alice.sdk.checkFriend(['bob', 'carol']);
  assert.deepEqual(checked, [{ userID: 'bob', result: 1 }, { userID: 'carol', result: 0 }]);
  for (const [client, friend] of [[alice, 'bob'], [desk, 'bob'], [bob, 'alice']]) {
    const { data: friends } = await client.sdk.getFriendListPage(all);
    assert.deepEqual(friends.map((f) => f.userID), [friend]);
  }
  assert.equal(await refusal(alice.sdk.addFriend({ toUserID: 'bob', reqMsg: '' })), 'RelationshipAlreadyError');
});

test('a refused application reaches the applicant and makes no friends', async () => {
  const asked = carol.next(CbEvents.OnFriendApplicationAdded, from('alice'));
  await alice.sdk.addFriend({ toUserID: 'carol', reqMsg: 'hi' });
  await asked;
  const refused = [alice, desk].map((device) => device.next(CbEvents.OnFriendApplicationRejected, to('carol')));
  await carol.sdk.refuseFriendApplication({ toUserID: 'alice', handleMsg: 'no' });
  const [application] = await Promise.all(refused);
  assert.deepEqual([application.handleResult, application.handleMsg], [-1, 'no']);
  const { data: checked } = await carol.sdk.checkFriend(['alice']);
  assert.equal(checked[0].result, 0);
  assert.equal(await refusal(carol.sdk.refuseFriendApplication({ toUserID: 'alice', handleMsg: '' })), 'FriendRequestHandled');
});

test('what is set for a friend shows on the other device', async () => {
  const changed = desk.next(CbEvents.OnFriendInfoChanged, (f) => f.userID === 'bob' && f.remark === 'Bobby');
  await alice.sdk.updateFriends({ friendUserIDs: ['bob'], remark: 'Bobby', isPinned: true, ex: 'x' });
  const friend = await changed;
  assert.deepEqual([friend.remark, friend.isPinned, friend.ex], ['Bobby', true, 'x']);
  const { data } = await desk.sdk.getSpecifiedFriendsInfo(['bob']);
  assert.equal(data[0].remark, 'Bobby');
});

test('a friend who is pinned comes first', async () => {
  await befriend('alice', 'dave');
  await alice.sdk.updateFriends({ friendUserIDs: ['bob'], isPinned: false });
  await alice.sdk.updateFriends({ friendUserIDs: ['dave'], isPinned: true });
  const { data } = await alice.sdk.getFriendListPage(all);
  assert.deepEqual(data.map((f) => f.userID), ['dave', 'bob']);
});

test('a new name and portrait of a friend show on every device', async () => {
  const test = (f) => f.userID === 'bob' && f.nickname === 'Robert';
  const changed = [alice, desk].map((device) => device.next(CbEvents.OnFriendInfoChanged, test));
  await bob.sdk.setSelfInfo({ nickname: 'Robert', faceURL: 'http://127.0.0.1/robert.png' });
  const [friend] = await Promise.all(changed);
  assert.equal(friend.faceURL, 'http://127.0.0.1/robert.png');
});

test('a blocked user is listed on every device and his messages are refused', async () => {
  const added = desk.next(CbEvents.OnBlackAdded, is('carol'));
  await alice.sdk.addBlack({ toUserID: 'carol', ex: 'spam' });
  const black = await added;
  assert.deepEqual([black.nickname, black.ex], ['name of carol', 'spam']);
  const { data: list } = await desk.sdk.getBlackList(all);
  assert.deepEqual(list.map((b) => b.userID), ['carol']);
  assert.equal(await code(carol.text('alice', 'refused')), 1302);
  const arrived = carol.nextMessage((m) => m.textElem?.content === 'the other way');
  await alice.text('carol', 'the other way');
  await arrived;
  const removed = desk.next(CbEvents.OnBlackDeleted, is('carol'));
  await alice.sdk.removeBlack('carol');
  await removed;
  const { data: empty } = await alice.sdk.getBlackList(all);
  assert.deepEqual(empty ?? [], []);
  const delivered = alice.nextMessage((m) => m.textElem?.content === 'again');
  await carol.text('alice', 'again');
  await delivered;
});

test('a deleted friend is gone from one list, on every device', async () => {
  const gone = desk.next(CbEvents.OnFriendDeleted, is('bob'));
  await alice.sdk.deleteFriend('bob');
  await gone;
  const { data: mine } = await desk.sdk.getFriendListPage(all);
  assert.deepEqual(mine.map((f) => f.userID), ['dave']);
  const { data: theirs } = await bob.sdk.checkFriend(['alice']);
  assert.equal(theirs[0].result, 1);
});

test('what changed while a device was away is there after its login', async () => {
  await desk.sdk.logout();
  await befriend('alice', 'carol');
  await alice.sdk.updateFriends({ friendUserIDs: ['carol'], remark: 'C' });
  await alice.sdk.deleteFriend('dave');
  desk = await server.login('alice', WINDOWS);
  const { data } = await desk.sdk.getFriendListPage(all);
  assert.deepEqual(data.map((f) => [f.userID, f.remark]), [['carol', 'C']]);
});
