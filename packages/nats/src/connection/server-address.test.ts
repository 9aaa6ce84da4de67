import { expect, it } from 'vitest';
import { parseServers } from './server-address.js';

it.each([
  ['ftp://user:secret@a:4222', /^The address of the NATS server is not valid\. Write it as/],
  ['nats://a:4222, nats://user:secret@:b', /^The address of NATS server 2 is not valid\. Write it as/],
  [['nats://a:4222', 'nats://b:4222/secret'], /^The address of NATS server 2 has something after its port\./],
] as const)('%j: says which address is meant, and never what is in it', (servers, message) => {
  const parse = (): unknown => parseServers(servers);
  expect(parse).toThrow(message);
  expect(parse).not.toThrow('secret');
});
