package io.qlora.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class InTurnTest {

    @Test
    void eachIsHeldAgainstItsPeerAndTheBounds() {
        Subject f32 = Catalogue.find("f32 forward, M=16, 768 -> 768");
        Subject nf4 = Catalogue.find("nf4 forward, M=16, 768 -> 768");
        List<Measurement> found = new InTurn(2, 1, 1).measure(List.of(f32, nf4), 1);
        assertEquals(4, found.size());
        assertEquals(1, found.getFirst().ofFmaPeak(), 0, "the peak itself");
        assertEquals(1, found.get(1).ofBandwidth(), 0, "the bandwidth itself");
        Measurement first = found.get(2);
        assertEquals(f32.name(), first.subject());
        assertNull(first.peer(), "OpenBLAS was not measured");
        Measurement second = found.get(3);
        assertEquals(nf4.name(), second.subject());
        assertEquals(f32.name(), second.peer());
        assertTrue(second.timesPeer() > 0 && second.ofFmaPeak() > 0 && second.gflopS() > 0, second.toString());
    }
}
