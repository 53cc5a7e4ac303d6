"""What people at work tell everybody, and what is nobody's task: lunch, lost keys, the lift.

A message that lies nearer to these than to what a peer knows is probably an aside, whatever thread
it stands in. Examples, not rules: the learnt scores say what such likeness weighs.
"""

from typing import Final

__all__ = ["EVERYDAY"]

EVERYDAY: Final = (
    "Lunch today: who comes along to the canteen?",
    "There is birthday cake in the kitchen for everybody.",
    "Please empty the fridge, old food goes into the bin on Friday.",
    "The coffee machine is broken.",
    "I have lost my keys, scarf, gloves or umbrella; has anybody seen them?",
    "My bicycle was taken from the rack.",
    "The car park is closed, please move your car.",
    "Kittens, puppies and pets to give away.",
    "The office party and the summer outing: who brings a salad?",
    "The football match on Saturday evening, tickets for sale.",
    "The concert, choir rehearsal and festival at the weekend.",
    "The carpets are being cleaned, please clear your desks.",
    "The lift is out of order this afternoon.",
    "Fire drill on Thursday at ten, everybody leaves the building.",
    "The Wi-Fi and the printers will be down for maintenance.",
    "I am on leave next week, on holiday with my family.",
    "My daughter has a fever, the children are home from school.",
    "Collection for a colleague's farewell, wedding or new baby.",
    "Blood donation and flu vaccination for the staff.",
    "Looking for a flat, a room to rent, a lift into town, a car to share.",
    "I recommend a good dentist, a film, a book, a recipe.",
    "The weather was lovely on our walk on Sunday.",
    "Happy new year, good night, have a nice weekend.",
    "Expenses, time sheets and leave requests must be entered by the end of the month.",
    "New passwords, badges and phone numbers for all staff.",
    "The bus and the train leave at other times this week.",
    "Sorry, wrong thread; this was meant for somebody else.",
    "A sofa, a table and a washing machine for sale, cheap.",
    "The heating is off, bring a warm pullover.",
    "Choose your menu for the Christmas dinner.",
)
