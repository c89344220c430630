"""What reaches people: mail, chat, and the contacts that are told by them."""
