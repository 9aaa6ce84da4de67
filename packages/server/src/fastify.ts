export { antiphonPlugin, type AntiphonPluginOptions } from './fastify/antiphon-plugin.js';
