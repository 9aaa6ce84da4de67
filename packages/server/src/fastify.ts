export { answerError, antiphonPlugin, type AntiphonPluginOptions } from './fastify/antiphon-plugin.js';
