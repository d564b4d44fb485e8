// Runs inside of Azurite. A peek with the request ID "all-messages" shows what the
// emulator's database has of a queue, hidden messages included, which no request
// of the service does: as one message whose text is a JSON array.

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { default: Handler } = require('azurite/dist/src/queue/handlers/MessagesHandler.js');
const { default: QueueContext } = require('azurite/dist/src/queue/context/QueueStorageContext.js');
const { readStreamToString } = require('azurite/dist/src/queue/utils/utils.js');

const { peek } = Handler.prototype;

Handler.prototype.peek = async function (options, context) {
  const response = await peek.call(this, options, context);
  if (options.requestId !== 'all-messages') {
    return response;
  }
  const { account: accountName, queue: queueName } = new QueueContext(context);
  const store = this.metadataStore;
  const messages = store.db.getCollection(store.MESSAGES_COLLECTION).chain()
    .find({ accountName, queueName }).simplesort('$loki').data();
  const all = [];
  for (const { messageId, insertionTime, expirationTime, timeNextVisible, dequeueCount, persistency } of messages) {
    const text = await readStreamToString(await this.extentStore.readExtent(persistency));
    all.push({ messageId, insertionTime, expirationTime, timeNextVisible, dequeueCount, text });
  }
  const now = new Date();
  response.splice(0, response.length, {
    messageId: 'all', insertionTime: now, expirationTime: now, dequeueCount: 0, messageText: JSON.stringify(all),
  });
  return response;
};
