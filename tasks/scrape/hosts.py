"""Which hosts may be asked, and at which addresses.

Hosts are the wiki's own and those its API names for its files; what they redirect to is nobody's word. And a name may
lead anywhere: an address that is not public is connected to only if the wiki itself is at one of that kind, or a wiki
could have this machine ask its own network, or the cloud's metadata service, in its place.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from tasks.scrape.errors import Unfit

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
PUBLIC = "public"
NAT64 = ipaddress.ip_network("64:ff9b::/96")
THIS_HOST = ipaddress.ip_network("0.0.0.0/8")  # connecting to it reaches loopback


def netloc(url: str) -> str:
    """Host and port of an address, the port only where it isn't the scheme's own."""
    return httpx.URL(url).netloc.decode()


def inside(url: str) -> bool:
    """Whether an address says by itself, without a look-up, that it isn't public; no proxy is of use there."""
    host = httpx.URL(url).host
    try:
        return host == "localhost" or kind_of(ipaddress.ip_address(host)) != PUBLIC
    except ValueError:
        return False


def kind_of(ip: IP) -> str:
    """public, private, loopback, link-local, or special (multicast, unspecified: never to be connected to)."""
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip.ipv4_mapped or ip.sixtofour
        if wrapped:
            return kind_of(wrapped)
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast or ip.is_unspecified or (ip.version == 4 and ip in THIS_HOST):
        return "special"
    return PUBLIC if ip.is_global else "private"


async def resolve(host: str, port: int) -> list[IP]:
    """The addresses of a host, in the order to try. Raises httpcore.ConnectError when there are none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from None
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


class Hosts:
    """The hosts one wiki may send us to: those of `own` addresses, which the user gave, and what `allow` adds.

    Raises httpx.InvalidURL when one of its own is no address.
    """

    def __init__(self, own: Iterable[str]):
        self._own = [httpx.URL(url) for url in own if url]
        self._allowed = {url.netloc.decode() for url in self._own}
        self._kinds: set[str] | None = None

    def allow(self, urls: Iterable[str]) -> None:
        """The wiki's API names these addresses."""
        self._allowed |= {netloc(url) for url in urls}

    def check(self, url: str) -> None:
        """Raise Unfit unless the address is at one of the hosts."""
        if netloc(url) not in self._allowed:
            raise Unfit(
                f"not the wiki's host: {netloc(url)} is neither the wiki's own nor named by its API for files; "
                "if the wiki moved there, give its new address"
            )

    async def permitted(self, host: str, port: int) -> list[IP]:
        """The addresses of a host that may be connected to; raises Unfit when there are none."""
        addresses = await resolve(host, port)
        kinds = await self._own_kinds() | {PUBLIC}
        if good := [ip for ip in addresses if kind_of(ip) in kinds]:
            return good
        raise Unfit(
            f"not a public address: {host} is at {addresses[0]} ({kind_of(addresses[0])}), "
            "where only a wiki that is itself at such an address may send us"
        )

    async def _own_kinds(self) -> set[str]:
        if self._kinds is None:
            found = [await resolve(url.raw_host.decode(), url.port or 80) for url in self._own]
            self._kinds = {kind_of(ip) for addresses in found for ip in addresses} - {"special"}
        return self._kinds


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to permitted addresses only: the very ones that were checked, for a second look-up may differ."""

    def __init__(self, hosts: Hosts):
        self._hosts = hosts
        self._network: Any = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for ip in await self._hosts.permitted(host, port):
            try:
                return await self._network.connect_tcp(str(ip), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
