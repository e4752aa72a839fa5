// A way to a server that can be cut: its connections break, and new ones are refused until it is mended.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Link {
  static async to(url) {
    const link = new Link();
    const { hostname, port, protocol } = new URL(url);
    link.sockets = new Set();
    link.entrance = createServer((near) => {
      if (link.isCut) return near.destroy();
      const far = connect(port, hostname);
      for (const [socket, other] of [[near, far], [far, near]]) {
        link.sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          link.sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    await once(link.entrance.listen(0, '127.0.0.1'), 'listening');
    link.url = `${protocol}//127.0.0.1:${link.entrance.address().port}`;
    return link;
  }

  cut() {
    this.isCut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.isCut = false;
  }

  remove() {
    this.cut();
    this.entrance.close();
  }
}
