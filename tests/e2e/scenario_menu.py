"""The menu and the prompts, on a terminal."""
import os
import signal
import termios
import time

from harness import PASSPHRASE, check, equal, note, scenario, wait_until
from screen import Screen

UP, DOWN, ESC, ENTER, CTRL_C, BACKSPACE = "\x1b[A", "\x1b[B", "\x1b", "\r", "\x03", "\x7f"
UP_APPLICATION, DOWN_APPLICATION = "\x1bOA", "\x1bOB"  # what an xterm sends once keypad mode is on


def open_menu(w, home, *args, rows=24, columns=80, env=None, term="xterm"):
    return Screen([w.camellia, "--home", home.dir, *args], dict(w.env, **(env or {})), rows, columns, term)


@scenario(timeout=120)
def menu_from_register_to_logout(w):
    """A person's first hour, by arrow keys and digits, on the smallest screen there should be."""
    bob, = w.users("bob")
    ana = w.home("ana")
    s = open_menu(w, ana, rows=15, columns=60)
    s.wait("Register", "Login", "Join", "no user here yet")
    s.type("3")
    s.wait("Address")
    s.type("nonsense" + ENTER)
    s.wait("HOST:PORT")
    s.type(DOWN_APPLICATION + DOWN_APPLICATION + UP_APPLICATION + UP_APPLICATION)
    s.type("3")
    s.wait("Address")
    s.type(bob.address + ENTER)
    s.wait("answers")
    s.type("1")
    s.wait("Username")
    s.type("anx" + BACKSPACE + "a" + ENTER)
    s.wait("Passphrase")
    s.type(PASSPHRASE + ENTER)
    s.wait("Passphrase again")
    check(PASSPHRASE not in s.text() and PASSPHRASE.encode() not in s.raw, "the passphrase is not shown")
    s.type(PASSPHRASE + ENTER)
    s.wait("ana#", within=20)
    s.type(ESC)
    s.wait("New Post", "Follow User", "Unfollow User", "View Timeline", "View Profile", "Get Suggestions", "Logout",
           "@ana", "1 peer")
    s.type("2")
    s.wait("Follow")
    s.type("bob" + ENTER)
    s.wait("you follow bob")
    bob.post("bob says hello")
    s.type("1")
    s.wait("Post")
    s.type("a post from the menu, with ümläuts and 日本" + ENTER)
    s.wait("saved")
    wait_until("arrives", lambda: len(ana.texts()) == 2, 10)
    s.type(UP_APPLICATION * 3 + DOWN_APPLICATION * 6)  # the bar goes round
    s.type("4")
    s.wait("bob says hello", "a post from the menu", "日本")
    s.resize(15, 32)  # the page is wrapped again for the narrow screen, and for the wide one
    whole = "a post from the menu, with ümläuts"
    wait_until("wrapped", lambda: s.pump(0.1) or whole not in s.text() and "bob says hello" in s.text(), 5)
    s.resize(15, 60)
    s.wait(whole, "日本")
    s.type("q")
    s.wait("New Post")
    s.type("5")
    s.wait("Whose")
    s.type("bob" + ENTER)
    s.wait("complete to #1")
    s.type(ESC)
    s.wait("New Post")
    s.type("6")
    s.wait("Esc back")
    s.type(ESC)
    s.wait("New Post")
    s.type("3")
    s.wait("Unfollow")
    s.type("bob" + ENTER)
    s.wait("do not follow bob")
    s.resize(24, 80)
    s.wait("New Post", "what's on your mind")
    s.resize(60, 200)
    s.wait("New Post")
    s.resize(15, 60)
    s.wait("New Post", "Logout")
    s.type("7")
    s.wait("Register", "logged out", within=20)
    s.wait("> 2 Login")  # for there is a user here
    s.type(ENTER)
    s.wait("Passphrase")
    s.type("wrong" + ENTER)
    s.wait("wrong passphrase for ana#")
    s.type("2")
    s.wait("Passphrase")
    s.type(PASSPHRASE + ENTER)
    s.wait("New Post", within=20)
    s.type("q")
    equal(s.end(), 0)
    equal(ana.ok("whoami")[0]["user"], "ana")
    check(ana.pid, "the node goes on")


@scenario()
def menu_leaves_the_terminal_as_it_was(w):
    ana = w.home("ana")
    for keys, status in ((CTRL_C, 130), ("q", 0), (ESC, 0), ("1" + CTRL_C, 130)):
        s = open_menu(w, ana)
        before = s.modes()
        s.wait("Register")
        if keys.startswith("1"):
            s.type("1")
            s.wait("Username")
            keys = keys[1:]
        s.type(keys)
        equal(s.end(), status, repr(keys))
        check(b"\x1b[?1049l" in s.raw[-200:], "the screen is given back:", s.raw[-200:])
        del before


# readpassphrase(3) shows its prompt, then reads: a signal that comes in the microseconds between only counts at the next
# key. No finger is so fast.
A_MOMENT = 0.2


@scenario()
def prompts_restore_the_terminal(w):
    """Ctrl-C at the passphrase: 130, and the echo is on again. A shell holds the terminal meanwhile."""
    ana = w.home("ana")
    s = Screen(["/bin/sh", "-c", "%s --home %s register ana; echo status $?; stty -a | grep -o '.echo '; exit 0"
                % (w.camellia, ana.dir)], w.env)
    s.wait("New passphrase for ana")
    check(not s.modes()[3] & termios.ECHO, "no echo while it is typed")
    time.sleep(A_MOMENT)
    s.type("secret" + CTRL_C)
    # The shell got the signal, too; dash goes on once its child was ended by an exit.
    s.end()
    check(b"secret" not in s.raw, "the passphrase is not shown")
    ana.no_node()
    check(not os.path.exists(ana.dir + "/user.key"))
    s = Screen([w.camellia, "--home", ana.dir, "register", "ana", "--listen", "127.0.0.1:0"], w.env)
    s.wait("New passphrase for ana")
    s.type("one" + ENTER)
    s.wait("Again")
    s.type("two" + ENTER)
    equal(s.end(), 65)
    check(b"differ" in s.raw, s.raw)
    s = Screen([w.camellia, "--home", ana.dir, "register", "ana", "--listen", "127.0.0.1:0"], w.env)
    s.wait("New passphrase for ana")
    time.sleep(A_MOMENT)
    s.type(CTRL_C)
    equal(s.end(), 130, "Ctrl-C at the passphrase")
    s = Screen([w.camellia, "--home", ana.dir, "register", "ana", "--listen", "127.0.0.1:0"], w.env)
    s.wait("New passphrase for ana")
    s.type(PASSPHRASE + ENTER)
    s.wait("Again")
    s.type(PASSPHRASE + ENTER)
    equal(s.end(20), 75)
    s = Screen([w.camellia, "--home", ana.dir, "post"], w.env)
    s.wait("Post:")
    s.type("typed at the prompt" + ENTER)
    equal(s.end(), 0)
    equal(ana.texts(), ["typed at the prompt"])


@scenario()
def menu_in_numbered_lines(w):
    """--plain and TERM=dumb: no full screen, numbers, nothing but text."""
    ana = w.home("ana")
    for args, term in ((["--plain"], "xterm"), ([], "dumb")):
        s = open_menu(w, ana, *args, term=term)
        s.wait("1  Register", "2  Login", "3  Join", "Number")
        s.type("9\n")
        s.wait("1 to 3")
        s.type("q\n")
        equal(s.end(), 0)
        check(b"\x1b" not in s.raw, "no escapes:", s.raw)
    s = open_menu(w, ana, "--plain")
    s.wait("Number")
    s.type("1\n")
    s.wait("Username")
    s.type("ana\n")
    s.wait("Passphrase")
    s.type(PASSPHRASE + "\n")
    s.wait("again")
    s.type(PASSPHRASE + "\n")
    s.wait("1  New Post", "7  Logout", within=20)
    s.type("1\n")
    s.wait("Post:")
    s.type("by numbers\n")
    s.wait("saved")
    s.type("4\n")
    s.wait("by numbers")
    s.type("\x04")
    equal(s.end(), 0)


@scenario()
def no_terminal_no_menu(w):
    ana = w.home("ana")
    ana.fails(64, json=False, says="menu needs a terminal")
    ana.fails(64)


@scenario()
def colours_only_on_a_terminal(w):
    ana, = w.users("ana")
    ana.post("x")
    check("\x1b" not in ana.ok("timeline", json=False))
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        s = Screen([w.camellia, "--home", ana.dir, "timeline"], dict(w.env, **{k: v for k, v in env.items() if k != "TERM"}),
                   term=env.get("TERM", "xterm"))
        equal(s.end(), 0)
        equal(b"\x1b[" in s.raw, coloured, env)
    s = Screen([w.camellia, "--home", ana.dir, "--plain", "timeline"], w.env)
    s.end()
    check(b"\x1b" not in s.raw)


@scenario()
def menu_in_a_c_locale(w):
    ana, = w.users("ana")
    ana.post("日本語 ü")
    s = open_menu(w, ana, env={"LC_ALL": "C", "LANG": "C"})
    s.wait("New Post")
    s.type("4")
    s.wait("日本語 ü")
    s.type(CTRL_C)
    equal(s.end(), 130)


@scenario()
def menu_survives_its_node(w):
    """The node is killed behind the menu: it says so, and Login brings everything back."""
    ana, = w.users("ana")
    ana.post("kept")
    s = open_menu(w, ana)
    s.wait("New Post")
    ana.kill()
    s.type("4")
    s.wait("Login", "no node is running")
    s.type("2")
    s.wait("Passphrase")
    s.type(PASSPHRASE + ENTER)
    s.wait("New Post", within=20)
    s.type("4")
    s.wait("kept")
    os.kill(s.pid, signal.SIGWINCH)
    time.sleep(0.3)
    s.wait("kept")
    os.kill(s.pid, signal.SIGTERM)
    status = s.end()
    check(status != 0, status)
    check(b"\x1b[?1049l" in s.raw[-200:], "the screen is given back")
    note("SIGTERM ends it with", status)
