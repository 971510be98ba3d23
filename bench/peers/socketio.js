// The Socket.IO server that a product would write for one room: who says something is heard by all, and is told when it went out.
"use strict";
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });
io.on("connection", (socket) => {
  socket.join("room");
  socket.on("say", (text, acknowledge) => {
    io.to("room").emit("said", text);
    acknowledge();
  });
});
http.listen(Number(process.env.PORT), "127.0.0.1");
