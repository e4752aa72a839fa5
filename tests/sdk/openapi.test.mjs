// The OpenAPI document that the API serves, judged by a validator of the specification.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Server } from './harness.mjs';

let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.remove());

test('the document is valid', async () => {
  const answer = await fetch(`${server.next().api}/openapi.json`);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  const document = await answer.json();
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  assert.ok(valid, JSON.stringify(errors, null, 1));
  const operation = document.paths['/user/get_users_info'].post;
  assert.deepEqual(operation.security, [{ token: [] }]);
  assert.equal(document.paths['/auth/parse_token'].post.security, undefined);
});
