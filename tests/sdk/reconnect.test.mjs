// What a client learns of what it missed when its link breaks and the unmodified TypeScript SDK connects again (after five seconds).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CbEvents, Server, WEB, WINDOWS, tolerateWorkAfterLogout } from './harness.mjs';
import { Link } from './link.mjs';

const chat = 'si_alice_bob';
let server;
let link;
let alice;
let bob; // behind the link
let desk; // Bob's second device, which stays connected

before(async () => {
  tolerateWorkAfterLogout();
  server = await Server.start();
  await server.register('alice', 'bob', 'carol', 'dave');
  await server.post('/friend/import_friend', { ownerUserID: 'bob', friendUserIDs: ['carol'] });
  alice = await server.login('alice');
  desk = await server.login('bob', WINDOWS);
  link = await Link.to(server.next().ws);
  bob = await server.login('bob', WEB, { ws: link.url });
});

after(async () => {
  await Promise.allSettled([alice, bob, desk].map((client) => client?.sdk.logout()));
  link?.remove();
  await server?.remove();
});

const saying = (content) => (m) => m.textElem?.content === content;
const texts = (client) => client.received().map((m) => m.textElem?.content).filter(Boolean);
const of = (groupID) => (g) => g.groupID === groupID;

async function text(client, to, content) {
  const { data: message } = await client.sdk.createTextMessage(content);
  await client.sdk.sendMessage({ recvID: '', groupID: '', ...to, message });
}

async function heard(to, content, devices) {
  const arrived = devices.map((device) => device.nextMessage(saying(content)));
  await text(alice, to, content);
  await Promise.all(arrived);
}

async function group(groupID, devices) {
  const added = devices.map((device) => device.next(CbEvents.OnJoinedGroupAdded, of(groupID)));
  await alice.sdk.createGroup({ memberUserIDs: ['bob'], groupInfo: { groupID, groupName: groupID } });
  await Promise.all(added);
}

test('a client whose link broke raises an event for all that it missed, once and in order', async () => {
  const both = [bob, desk];
  for (const groupID of ['kept', 'lost']) await group(groupID, both);
  await heard({ recvID: 'bob' }, 'before', both);
  await heard({ groupID: 'kept' }, 'before in the group', both);
  await alice.sdk.subscribeUsersStatus(['bob']);
  const gone = alice.next(CbEvents.OnUserStatusChanged, (u) => u.userID === 'bob' && !u.platformIDs?.includes(WEB));
  link.cut();
  await gone;

  for (const content of ['missed 1', 'missed 2', 'missed 3']) await heard({ recvID: 'bob' }, content, [desk]);
  await heard({ groupID: 'kept' }, 'missed in the group', [desk]);
  await group('new', [desk]);
  const lost = desk.next(CbEvents.OnJoinedGroupDeleted, of('lost'));
  await alice.sdk.kickGroupMember({ groupID: 'lost', reason: '', userIDList: ['bob'] });
  await lost;
  const renamed = desk.next(CbEvents.OnGroupInfoChanged, (g) => g.groupName === 'renamed');
  await alice.sdk.setGroupInfo({ groupID: 'kept', groupName: 'renamed' });
  await renamed;
  await server.post('/friend/import_friend', { ownerUserID: 'bob', friendUserIDs: ['dave'] });
  await desk.sdk.deleteFriend('carol');
  await desk.sdk.setConversation({ conversationID: chat, isPinned: true });

  const told = [
    bob.next(CbEvents.OnSyncServerFinish),
    bob.next(CbEvents.OnJoinedGroupAdded, of('new')),
    bob.next(CbEvents.OnJoinedGroupDeleted, of('lost')),
    bob.next(CbEvents.OnGroupInfoChanged, (g) => g.groupName === 'renamed'),
    bob.next(CbEvents.OnFriendAdded, (f) => f.userID === 'dave'),
    bob.next(CbEvents.OnFriendDeleted, (f) => f.userID === 'carol'),
    bob.next(CbEvents.OnConversationChanged, (list) => list.some((c) => c.conversationID === chat && c.isPinned)),
    bob.nextMessage(saying('missed 3')),
    bob.nextMessage(saying('missed in the group')),
  ];
  link.mend();
  await Promise.all(told);
  await heard({ recvID: 'bob' }, 'live again', both);
  await heard({ groupID: 'kept' }, 'live again in the group', both);
  const inOrder = (list, inGroup) => list.filter((content) => content.endsWith('in the group') === inGroup);
  assert.deepEqual(inOrder(texts(bob), false), ['before', 'missed 1', 'missed 2', 'missed 3', 'live again']);
  assert.deepEqual(inOrder(texts(bob), true), ['before in the group', 'missed in the group', 'live again in the group']);
  assert.ok(!bob.events.some(({ event }) => event === CbEvents.OnSyncServerFailed));
});
